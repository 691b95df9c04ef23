/* SPDX-License-Identifier: MIT
 *
 * Goroutines run on stacks of a few KiB, so Go requires that every signal handler runs on the alternate stack that its threads
 * have ("Go programs that use cgo", os/signal). The runtime of the library installs one without that flag, for SIGRTMIN, by
 * which its garbage collector stops a thread: should it come when the thread is back in Go, it would overwrite the memory
 * behind the goroutine's stack.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

#include "signals.h"

static atomic_int done;

void
q2_use_signal_stack (void)
{
  if (atomic_load_explicit (&done, memory_order_acquire))
    return;
  struct sigaction action;
  if (sigaction (SIGRTMIN, NULL, &action) == 0 && (action.sa_flags & (SA_SIGINFO | SA_ONSTACK)) == SA_SIGINFO) {
    action.sa_flags |= SA_ONSTACK;
    sigaction (SIGRTMIN, &action, NULL);
  }
  atomic_store_explicit (&done, 1, memory_order_release);
}
