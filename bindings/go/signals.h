/* SPDX-License-Identifier: MIT */
#ifndef QCOW2BLK_GO_SIGNALS_H
#define QCOW2BLK_GO_SIGNALS_H

/* Makes the handlers of the library fit for Go. To be called after a call that has started its runtime; cheap after that. */
void q2_use_signal_stack (void);

#endif
