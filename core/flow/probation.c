/* probation.c: a new version is watched for a while; when more of its events fail than before, or
 * its rules take longer, the one before comes back. See reload.h.
 *
 * Times are compared window by window, not as a whole: rules that were just loaded are not compiled
 * yet, which passes. Two windows in a row must be beyond a limit. */
#include "base/clock.h"
#include "flow/reload.h"

#include <stdio.h>

enum { WINDOW_MS = 250, WINDOWS_BEYOND = 2 };
static const double ns_always_allowed =
    2000; /* for an event: what noise can make of a cheap rule */

typedef struct work {
    uint64_t decided, failed, rule_ns;
} work;

static work work_of(const mw_version *v)
{
    work w = {0};
    for (unsigned i = 0; i < v->shards; i++) {
        w.decided += mw_counted(&v->tallies[i].decided);
        w.failed += mw_counted(&v->tallies[i].failed);
        w.rule_ns += mw_counted(&v->tallies[i].rule_ns);
    }
    return w;
}

static int is_too_wrong(mw_reload *r, work now, char *why, size_t room)
{
    if (now.decided < r->probation.limits.events) return 0;
    double errors = (double)now.failed / (double)now.decided;
    if (errors <= r->probation.errors_before + r->probation.limits.errors) return 0;
    snprintf(why, room, "%.2f %% of its events failed (%.2f %% before)", errors * 100,
             r->probation.errors_before * 100);
    return 1;
}

static int is_too_slow(mw_reload *r, work now, char *why, size_t room)
{
    uint64_t decided = now.decided - r->probation.decided;
    double ns, most = r->probation.ns_before * r->probation.limits.time + ns_always_allowed;
    if (r->probation.ns_before < 0 || decided < r->probation.limits.events) return 0;
    ns = (double)(now.rule_ns - r->probation.rule_ns) / (double)decided;
    r->probation.beyond = ns > most ? r->probation.beyond + 1 : 0;
    r->probation.decided = now.decided, r->probation.rule_ns = now.rule_ns;
    if (r->probation.beyond < WINDOWS_BEYOND) return 0;
    snprintf(why, room, "its rules take %.1f us for an event (%.1f us before)", ns / 1e3,
             r->probation.ns_before / 1e3);
    return 1;
}

static void on_window(uv_timer_t *timer)
{
    mw_reload *r = timer->data;
    char why[256];
    work now = work_of(r->flow->version);
    if (is_too_wrong(r, now, why, sizeof why) || is_too_slow(r, now, why, sizeof why)) {
        mw_probation_end(r);
        mw_reload_roll_back(r, why);
    } else if (mw_clock_steady_ns() > r->probation.until_ns) {
        mw_probation_end(r);
    }
}

void mw_probation_open(mw_reload *r)
{
    uv_timer_init(r->flow->loop, &r->probation.timer);
    r->probation.timer.data = r;
}

void mw_probation_begin(mw_reload *r, const mw_version *before)
{
    mw_probation limits = r->flow->version->graph.probation;
    work was = work_of(before);
    int64_t time_ns = limits.time_ns >= 0 ? limits.time_ns : r->flow->options.probation_ns;
    if (time_ns <= 0) return;
    r->probation.on = 1, r->probation.beyond = 0;
    r->probation.limits = limits;
    r->probation.until_ns = mw_clock_steady_ns() + time_ns;
    r->probation.decided = r->probation.rule_ns = 0;
    r->probation.errors_before = was.decided ? (double)was.failed / (double)was.decided : 0;
    r->probation.ns_before = was.decided >= limits.events && was.decided
                                 ? (double)was.rule_ns / (double)was.decided
                                 : -1;
    uv_timer_start(&r->probation.timer, on_window, WINDOW_MS, WINDOW_MS);
}

void mw_probation_end(mw_reload *r)
{
    r->probation.on = 0;
    uv_timer_stop(&r->probation.timer);
}
