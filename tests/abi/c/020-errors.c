/* The text and number of the last error belong to the thread, and are there without a handle. */
#include "test.h"

static void *
other_thread (void *unused)
{
  (void) unused;
  CHECK_STR ("", qcow2blk_last_error ());
  CHECK_EQ (0, qcow2blk_last_errno ());
  CHECK_ERR (EINVAL, qcow2blk_has_feature (NULL, 0));
  return NULL;
}

int
main (void)
{
  qcow2blk_image *image = NULL;
  CHECK_STR ("", qcow2blk_last_error ());
  CHECK_EQ (0, qcow2blk_last_errno ());

  const char *path = in_folder ("missing.qcow2");
  CHECK_ERR (ENOENT, qcow2blk_image_open (path, NULL, &image, 0));
  const char *text = qcow2blk_last_error ();
  CHECK_CONTAINS (path, text);
  CHECK (strchr (text, '\n') == NULL);
  CHECK (text[strlen (text) - 1] != '.');

  char before[1024];
  snprintf (before, sizeof before, "%s", text);
  pthread_t thread;
  CHECK_EQ (0, pthread_create (&thread, NULL, other_thread, NULL));
  pthread_join (thread, NULL);
  CHECK_EQ (1, qcow2blk_has_feature ("zstd", 0));
  CHECK_STR (before, text);
  CHECK_STR (before, qcow2blk_last_error ());
  CHECK_EQ (ENOENT, qcow2blk_last_errno ());

  CHECK_ERR (EINVAL, qcow2blk_image_open (NULL, NULL, &image, 0));
  CHECK (strcmp (before, qcow2blk_last_error ()) != 0);
  return 0;
}
