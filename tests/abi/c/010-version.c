/* The version of the library, and what it can do. */
#include "test.h"

int
main (void)
{
  CHECK_EQ (0x000100, QCOW2BLK_VERSION);
  CHECK_EQ (QCOW2BLK_VERSION, qcow2blk_version ());

  CHECK_EQ (1, qcow2blk_has_feature ("deflate", 0));
  CHECK_EQ (1, qcow2blk_has_feature ("zstd", 0));
  const char *of_the_machine[] = { "io_uring", "ublk", "nbd" };
  for (int i = 0; i < 3; i++) {
    int has = qcow2blk_has_feature (of_the_machine[i], 0);
    CHECK (has == 0 || has == 1);
  }
  if (access ("/dev/ublk-control", F_OK) < 0)
    CHECK_EQ (0, qcow2blk_has_feature ("ublk", 0));

  CHECK_EQ (0, qcow2blk_has_feature ("teleport", 0));
  CHECK_EQ (0, qcow2blk_has_feature ("", 0));
  CHECK_ERR (EINVAL, qcow2blk_has_feature (NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_has_feature ("zstd", 1));
  return 0;
}
