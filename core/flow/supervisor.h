/* supervisor.h: a process that keeps another one running.
 *
 * The work runs in a child; the parent passes signals on and, when the child dies of a crash (a
 * signal it was not sent by us to end with) or hangs, starts it again, waiting longer each time it
 * dies young; see watchdog.h for the event that it died of. A child that exits by itself ends both,
 * with its code. When the parent dies, the child is told to drain. */
#ifndef MW_SUPERVISOR_H
#define MW_SUPERVISOR_H

#include "flow/watchdog.h"

enum { MW_RUN_AGAIN = 75 }; /* what the work exits with to be started again */

/* Calls `work` in a child and returns the exit code. Before any thread is started. `watchdog` may
 * be NULL; a shard that is not alive for `hung_ns` (0: any time) is a hang. */
int mw_supervise(int (*work)(void *arg), void *arg, mw_watchdog *watchdog, int64_t hung_ns);

#endif
