/* supervisor.c: see supervisor.h. */
#include "flow/supervisor.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BACK_OFF_MS = 100, BACK_OFF_MS_MAX = 30000, LOOK_NS = 100000000, LOOKS = 5 };
static const int64_t young_ns =
    10000000000; /* a child that lived longer starts the back-off anew */

static void block_signals(sigset_t *old)
{
    sigset_t all;
    sigemptyset(&all);
    sigaddset(&all, SIGTERM);
    sigaddset(&all, SIGINT);
    sigaddset(&all, SIGHUP);
    sigaddset(&all, SIGCHLD);
    sigprocmask(SIG_BLOCK, &all, old);
}

static pid_t start_child(int (*work)(void *), void *arg, const sigset_t *old)
{
    pid_t parent = getpid(), child = fork();
    if (child != 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1); /* it died in between */
    sigprocmask(SIG_SETMASK, old, NULL);
    exit(work(arg));
}

typedef struct guard {
    mw_watchdog *watchdog;
    int64_t hung_ns;
} guard;

/* One that hangs is ended; it may take the time to write a core. It must be found so several times
 * in a row: when the whole machine was stopped for a while, its shards are heard of soon. */
static void look_for_hang(pid_t child, const guard *g, int *looks)
{
    int shard = g->hung_ns ? mw_watchdog_find_hung(g->watchdog, g->hung_ns) : -1;
    *looks = shard < 0 ? 0 : *looks + 1;
    if (*looks < LOOKS) return;
    mw_log(MW_ERROR, "supervisor",
           "shard %d hangs: it has not been heard of for %.1f s; the router is ended", shard,
           (double)g->hung_ns / 1e9);
    mw_watchdog_accuse(g->watchdog, shard);
    kill(child, SIGABRT);
}

/* Waits for the child, passing signals on. */
static int wait_for(pid_t child, int *ending, const guard *g)
{
    sigset_t set;
    int status, aborted = 0, looks = 0;
    struct timespec look = {.tv_nsec = LOOK_NS};
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    for (;;) {
        int number = 0;
        if (waitpid(child, &status, WNOHANG) == child) return status;
        number = sigtimedwait(&set, NULL, &look);
        if (number < 0 && !aborted)
            look_for_hang(child, g, &looks), aborted = mw_watchdog_accused(g->watchdog);
        if (number < 0 || number == SIGCHLD) continue;
        *ending |= number != SIGHUP; /* that one means: reload */
        kill(child, number);
    }
}

/* Sleeps, unless told to end: then true. */
static int sleep_or_end(int64_t ms)
{
    sigset_t set;
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return sigtimedwait(&set, NULL, &time) > 0;
}

int mw_supervise(int (*work)(void *arg), void *arg, mw_watchdog *watchdog, int64_t hung_ns)
{
    const guard g = {watchdog, hung_ns};
    sigset_t old;
    int64_t back_off_ms = BACK_OFF_MS;
    int ending = 0;
    block_signals(&old);
    for (;;) {
        int64_t started_ns = mw_clock_steady_ns();
        pid_t child = start_child(work, arg, &old);
        if (child < 0) {
            mw_log(MW_ERROR, "supervisor", "cannot start the router: no process can be made");
            return 1;
        }
        int status = wait_for(child, &ending, &g);
        if (WIFEXITED(status) && WEXITSTATUS(status) != MW_RUN_AGAIN) return WEXITSTATUS(status);
        if (ending) return 1;
        if (mw_watchdog_buried(watchdog))
            mw_log(MW_ERROR, "supervisor",
                   "an event has brought the router down twice: it goes to the dead letters "
                   "without another try");
        if (mw_clock_steady_ns() - started_ns > young_ns) back_off_ms = BACK_OFF_MS;
        if (WIFEXITED(status))
            mw_log(MW_WARN, "supervisor",
                   "the router is started again from its checkpoint in %lld ms",
                   (long long)back_off_ms);
        else
            mw_log(
                MW_ERROR, "supervisor",
                "the router died of signal %d; it is started again from its checkpoint in %lld ms",
                WTERMSIG(status), (long long)back_off_ms);
        if (sleep_or_end(back_off_ms)) return 1;
        back_off_ms = back_off_ms * 2 < BACK_OFF_MS_MAX ? back_off_ms * 2 : BACK_OFF_MS_MAX;
    }
}
