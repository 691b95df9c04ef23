/* A host with signal handlers of its own keeps them: those that were there before the first call, and those that come after. */
#include "device.h"

#include <setjmp.h>
#include <signal.h>

static volatile sig_atomic_t children, pipes, interrupts, reals;
static sigjmp_buf after_fault;

static void on_child (int signal) { (void) signal; children++; }
static void on_pipe (int signal) { (void) signal; pipes++; }
static void on_interrupt (int signal) { (void) signal; interrupts++; }
static void on_real (int signal) { (void) signal; reals++; }

static void
on_fault (int signal, siginfo_t *info, void *context)
{
  (void) info, (void) context;
  siglongjmp (after_fault, signal);
}

static void
install (int signal, void (*handler) (int))
{
  struct sigaction action = { .sa_handler = handler };
  CHECK_EQ (0, sigaction (signal, &action, NULL));
}

static void
install_faults (void)
{
  struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };
  CHECK_EQ (0, sigaction (SIGSEGV, &action, NULL));
  CHECK_EQ (0, sigaction (SIGFPE, &action, NULL));
}

static int
has_handler (int signal, void (*handler) (int))
{
  struct sigaction action;
  CHECK_EQ (0, sigaction (signal, NULL, &action));
  return action.sa_handler == handler;
}

/* A fault in the code of the host reaches the handler of the host, on this thread and on others. */
static void *
fault (void *unused)
{
  (void) unused;
  int signal = sigsetjmp (after_fault, 1);
  if (signal == 0) {
    char *volatile nowhere = (char *) 8;
    *nowhere = 1;
  }
  CHECK_EQ (SIGSEGV, signal);
  if ((signal = sigsetjmp (after_fault, 1)) == 0) {
    volatile int zero = 0, one = 1;
    one = one / zero;
  }
  CHECK_EQ (SIGFPE, signal);
  return NULL;
}

/* Signals of the host arrive while the library works, and the library works while they arrive. */
static void
check_delivery (void)
{
  int before = children, ends[2];
  qcow2blk_image *image = open_copy ("plain.qcow2");
  CHECK_EQ (0, pipe (ends));
  close (ends[0]);
  for (int i = 0; i < 50; i++) {
    pid_t pid = fork ();
    if (pid == 0)
      _exit (0);
    check_disk (image, 1 + i, (uint64_t) i * 64 * KiB, 64 * KiB);
    CHECK_EQ (i, interrupts);
    CHECK_EQ (0, raise (SIGINT));
    CHECK_EQ (i, pipes);
    CHECK_EQ (-1, write (ends[1], "x", 1));
    while (waitpid (pid, NULL, 0) < 0)
      CHECK_EQ (EINTR, errno);
  }
  CHECK (children > before);
  CHECK_EQ (50, interrupts);
  CHECK_EQ (50, pipes);
  interrupts = pipes = 0;
  close (ends[1]);
  CHECK_OK (qcow2blk_image_close (image, 0));
}

static void
check_handlers (void)
{
  CHECK (has_handler (SIGCHLD, on_child));
  CHECK (has_handler (SIGPIPE, on_pipe));
  CHECK (has_handler (SIGINT, on_interrupt));
  pthread_t thread;
  fault (NULL);
  CHECK_EQ (0, pthread_create (&thread, NULL, fault, NULL));
  CHECK_EQ (0, pthread_join (thread, NULL));
}

/* Another host, with the defaults: they stay so. */
static void
check_defaults (void)
{
  int status;
  pid_t pid = fork ();
  if (pid == 0) {
    qcow2blk_image *image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
    CHECK_OK (qcow2blk_image_close (image, 0));
    int untouched[] = { SIGPIPE, SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGUSR1, SIGUSR2, SIGALRM };
    for (unsigned i = 0; i < sizeof untouched / sizeof *untouched; i++)
      if (!has_handler (untouched[i], SIG_DFL)) FAIL ("signal %d is not as it was", untouched[i]);
    sigset_t mask;
    CHECK_EQ (0, pthread_sigmask (SIG_SETMASK, NULL, &mask));
    CHECK (sigisemptyset (&mask));
    raise (SIGPIPE); /* ends it, as by default */
    _exit (3);
  }
  CHECK_EQ (pid, waitpid (pid, &status, 0));
  CHECK (WIFSIGNALED (status));
  CHECK_EQ (SIGPIPE, WTERMSIG (status));
}

int
main (void)
{
  use_own_runtime_folder ();
  const char *path = copy_of ("empty.qcow2");
  check_defaults ();

  install (SIGCHLD, on_child);
  install (SIGPIPE, on_pipe);
  install (SIGINT, on_interrupt);
  install (34, on_real);
  install_faults ();
  CHECK_OK (qcow2blk_image_close (open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY), 0));
  check_handlers ();
  check_delivery ();
  CHECK_EQ (0, raise (34));
  CHECK_EQ (1, reals);

  qcow2blk_device *device = attach_named (path, "disk");
  check_handlers ();
  check_delivery ();
  CHECK_OK (qcow2blk_device_close (device, 0));
  check_handlers ();

  /* Installed after the first call: the host has the signal to itself then. */
  install_faults ();
  check_handlers ();
  check_delivery ();
  return 0;
}
