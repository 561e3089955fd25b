/* reload.c: see reload.h. */
#include "flow/reload.h"
#include "base/clock.h"
#include "base/log.h"
#include "flow/guarantee.h"
#include "flow/harness.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SWEEP_MS = 10 };

static void begin_next(mw_reload *r);

/* ---- records ---- */

static void write_author(const char *path, char *to, size_t room)
{
    struct stat st;
    struct passwd entry, *found = NULL;
    char text[1024];
    to[0] = 0;
    if (stat(path, &st) != 0) return;
    if (getpwuid_r(st.st_uid, &entry, text, sizeof text, &found) == 0 && found)
        snprintf(to, room, "%s", found->pw_name);
    else
        snprintf(to, room, "%u", (unsigned)st.st_uid);
}

static mw_version_record *remember(mw_reload *r, unsigned number, const char *hash, mw_files *files)
{
    unsigned victim = r->record_count; /* refused ones go first, the live one never */
    for (unsigned i = r->record_count; i-- > 0 && r->record_count == MW_RECORDS;) {
        int live = r->records[i].number == r->flow->version->number;
        if (live || (victim < MW_RECORDS && r->records[i].files)) continue;
        if (victim == MW_RECORDS || r->records[victim].files) victim = i;
    }
    if (r->record_count < MW_RECORDS) r->record_count++;
    else
        mw_files_free(r->records[victim].files);
    memmove(r->records + 1, r->records, victim * sizeof *r->records);
    mw_version_record *record = &r->records[0];
    *record = (mw_version_record){
        .number = number, .time_ns = mw_clock_wall_ns(), .files = files, .good = files != NULL};
    snprintf(record->hash, sizeof record->hash, "%s", hash);
    write_author(r->flow->options.path, record->author, sizeof record->author);
    return record;
}

static mw_version_record *record_of(mw_reload *r, unsigned number)
{
    for (unsigned i = 0; i < r->record_count; i++)
        if (r->records[i].number == number) return &r->records[i];
    return NULL;
}

/* ---- outcomes ---- */

static void tell_waiters(mw_reload *r, int accepted)
{
    mw_waiter *w = r->waiters;
    r->waiters = NULL;
    for (mw_waiter *next; w; w = next) {
        next = w->next;
        w->done(w->self, accepted, r->report.bytes, r->report.len);
        free(w);
    }
}

static void be_idle(mw_reload *r)
{
    mw_flow *f = r->flow;
    r->step = MW_RELOAD_IDLE;
    r->next = NULL, r->files = NULL;
    if (f->drain_wanted && f->phase == MW_RUNNING) mw_flow_drain(f);
    if (f->phase == MW_RUNNING) mw_flow_look_around(f);
    if (r->again) begin_next(r);
}

static void remember_refusal(mw_reload *r, const char *why)
{
    char hash[20];
    mw_files_version(r->files, hash, sizeof hash);
    mw_version_record *record = remember(r, 0, hash, NULL);
    snprintf(record->verdict, sizeof record->verdict, "refused: %.*s",
             (int)(strcspn(why, "\n") < 480 ? strcspn(why, "\n") : 480), why);
    if (r->watch && !r->going_back) mw_watch_files(r->watch, r->files);
    if (r->owns_files) mw_files_free(r->files);
}

static void refuse(mw_reload *r, const char *why)
{
    mw_buffer text = {0};
    if (r->files) mw_files_explain(r->files, why, &text);
    else
        mw_buffer_text(&text, why);
    snprintf(r->refusal, sizeof r->refusal, "%.*s", (int)text.len, text.bytes);
    mw_log(MW_ERROR, "reload", "refused, version %s goes on: %s", r->flow->version->graph.version,
           r->refusal);
    mw_count(&r->refused, 1);
    r->report.len = 0;
    mw_buffer_text(&r->report, "{\"accepted\":false,\"error\":");
    mw_json_quote(&r->report, text.bytes, text.len);
    mw_buffer_format(&r->report, ",\"version\":\"%s\"}", r->flow->version->graph.version);
    mw_buffer_close(&text);
    if (r->files) remember_refusal(r, why);
    tell_waiters(r, 0);
    be_idle(r);
}

static void accept_unchanged(mw_reload *r)
{
    r->refusal[0] = 0;
    r->report.len = 0;
    mw_buffer_format(&r->report, "{\"accepted\":true,\"unchanged\":true,\"version\":\"%s\"}",
                     r->flow->version->graph.version);
    if (r->watch && !r->going_back) mw_watch_files(r->watch, r->files);
    if (r->owns_files) mw_files_free(r->files);
    mw_log(MW_INFO, "reload", "nothing has changed: version %s goes on",
           r->flow->version->graph.version);
    tell_waiters(r, 1);
    be_idle(r);
}

/* ---- loading: in a thread of the pool ---- */

typedef struct fixture_tally {
    unsigned count, failed;
    mw_error first;
} fixture_tally;

static void on_fixture(void *self, const mw_test_result *result)
{
    fixture_tally *t = self;
    t->count++;
    if (result->passed || t->failed++) return;
    mw_fail(&t->first, MW_CONFIG, "%s (in the test '%s')", result->why ? result->why : "it failed",
            result->name);
}

static mw_status run_fixtures(mw_reload *r, mw_error *error)
{
    fixture_tally t = {0};
    if (r->next->graph.test_count == 0) return MW_OK;
    const mw_harness_options options = {.path = r->flow->options.path,
                                        .kinds = r->flow->kinds,
                                        .files = r->files,
                                        .tell = on_fixture,
                                        .self = &t};
    mw_status status = mw_harness_run(&options, error);
    r->tests = t.count;
    if (status != MW_OK || t.failed == 0) return status;
    *error = t.first;
    return MW_CONFIG;
}

static void load(uv_work_t *work)
{
    mw_reload *r = work->data;
    mw_flow *f = r->flow;
    if (!r->files) r->files = mw_files_new(), r->owns_files = 1;
    mw_status status = mw_version_load(&r->next, f, r->files, &r->error);
    if (status != MW_OK) return;
    r->unchanged = strcmp(r->next->graph.version, f->version->graph.version) == 0;
    if (!r->unchanged)
        status = mw_guarantee_can_become(&f->version->graph, &r->next->graph, &r->error);
    if (status == MW_OK && !r->unchanged) status = run_fixtures(r, &r->error);
    for (unsigned i = 0; i < f->shards && status == MW_OK && !r->unchanged; i++)
        status = mw_rules_open(&r->next->rules[i], r->next, f->options.path, f->kinds_json.bytes,
                               &r->error);
    if (status == MW_OK && !r->unchanged) return;
    mw_version_free(r->next);
    r->next = NULL;
}

static void on_loaded(uv_work_t *work, int status)
{
    mw_reload *r = work->data;
    mw_flow *f = r->flow;
    (void)status;
    r->loaded_ns = mw_clock_steady_ns();
    if (f->phase != MW_RUNNING) {
        mw_version_free(r->next);
        r->next = NULL;
        refuse(r, "the router is stopping");
    } else if (!r->next) {
        if (r->unchanged) accept_unchanged(r);
        else
            refuse(r, r->error.message);
    } else {
        r->next->number = ++r->numbers;
        mw_version_place(r->next, f, f->version);
        r->step = MW_RELOAD_OPENING;
        r->waiting = f->shards;
        mw_flow_broadcast(f, MW_MSG_OPEN, 0, r->next);
    }
}

static void begin_load(mw_reload *r, mw_files *files, const char *why)
{
    r->step = MW_RELOAD_LOADING;
    r->going_back = files != NULL;
    r->files = files, r->owns_files = 0;
    r->next = NULL, r->unchanged = 0, r->tests = 0;
    r->error = (mw_error){0};
    snprintf(r->reason, sizeof r->reason, "%s", why);
    r->began_ns = mw_clock_steady_ns();
    r->work.data = r;
    uv_queue_work(r->flow->loop, &r->work, load, on_loaded);
}

static void begin_next(mw_reload *r)
{
    r->again = 0;
    r->waiters = r->later, r->later = NULL;
    begin_load(r, NULL, "the files changed");
}

/* ---- opening, swapping ---- */

static void mark_removed(mw_flow *f, mw_version *v)
{
    const mw_version *old = f->version;
    for (uint32_t i = 0; i < old->graph.source_count * old->shards; i++) {
        mw_source_host *h = old->sources[i];
        int stays = 0;
        for (uint32_t j = 0; h && j < v->graph.source_count * v->shards; j++)
            stays |= v->sources[j] == h;
        if (h && !stays) h->control.removed = 1;
    }
}

static void on_opened(mw_reload *r, mw_error *error)
{
    mw_flow *f = r->flow;
    if (error) {
        r->error = *error;
        free(error);
    }
    if (--r->waiting > 0) return;
    r->waiting = f->shards;
    if (r->error.message[0]) {
        r->step = MW_RELOAD_ABANDONING;
        mw_flow_broadcast(f, MW_MSG_ABANDON, 0, r->next);
        return;
    }
    r->step = MW_RELOAD_SWAPPING;
    r->next->before = f->version;
    mark_removed(f, r->next);
    r->mark_waits = 1;
    if (!f->cut.busy) mw_reload_after_cut(f);
}

void mw_reload_after_cut(mw_flow *f)
{
    mw_reload *r = f->reload;
    if (!r->mark_waits) return;
    r->mark_waits = 0;
    mw_flow_broadcast(f, MW_MSG_MARK, 0, r->next);
}

static void bury(mw_reload *r, mw_version *v)
{
    v->next = r->dying;
    r->dying = v;
}

static void on_abandoned(mw_reload *r)
{
    if (--r->waiting > 0) return;
    mw_version_free_rules(r->next);
    bury(r, r->next);
    mw_error why = r->error;
    refuse(r, why.message);
}

static void close_removed(mw_flow *f, const mw_version *old)
{
    for (uint32_t i = 0; i < old->graph.source_count * old->shards; i++) {
        mw_source_host *h = old->sources[i];
        if (h && h->control.removed == 1 && h->control.empty) {
            h->control.removed = 2;
            mw_post_send(f->post, f->shards, h->shard->index,
                         (mw_message){.kind = MW_MSG_CLOSE, .body = h});
        }
    }
}

static void on_sweep(uv_timer_t *timer);

static void on_swapped(mw_reload *r, mw_version *v)
{
    mw_flow *f = r->flow;
    mw_version *before = f->version;
    if (--r->waiting > 0) return;
    mw_version_record *old = record_of(r, before->number);
    if (old && r->going_back) {
        snprintf(old->verdict, sizeof old->verdict, "rolled back: %s", r->reason);
        old->good = 0;
    } else if (old) {
        snprintf(old->verdict, sizeof old->verdict, "replaced");
    }
    if (r->going_back) mw_count(&r->rolled_back, 1);
    v->next = before;
    v->before = NULL;
    f->version = v;
    f->hurried = 0; /* there may be sources that have not ended */
    r->refusal[0] = 0;
    mw_count(&r->accepted, 1);
    mw_files *files = r->files;
    if (!r->owns_files) { /* an older version's: it keeps its own */
        files = mw_files_new();
        mw_files_copy(files, r->files);
    }
    mw_version_record *record = remember(r, v->number, v->graph.version, files);
    snprintf(record->verdict, sizeof record->verdict, "live");
    v->files = files;
    mw_report_write(r, v, before);
    mw_report_log(r, v, before);
    for (uint32_t i = 0; i < v->graph.warning_count; i++)
        mw_log(MW_WARN, "check", "%s", v->graph.warnings[i]);
    if (r->watch && !r->going_back) mw_watch_files(r->watch, files);
    close_removed(f, before);
    uv_timer_start(&r->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    mw_probation_end(r);
    if (!r->going_back) mw_probation_begin(r, before);
    tell_waiters(r, 1);
    be_idle(r);
}

/* ---- versions of before ---- */

static int can_retire(const mw_version *v)
{
    for (uint32_t i = 0; i < v->graph.source_count * v->shards; i++) {
        const mw_source_host *h = v->sources[i];
        if (h && h->control.removed) return 0;
    }
    return mw_version_is_empty(v);
}

static void add_gone(mw_flow *f, const mw_version *v)
{
    for (uint32_t i = 1; i < mw_graph_plain_sinks(&v->graph); i++) {
        uint32_t j;
        if (mw_version_find(f->version->graph.sinks, f->version->graph.sink_count,
                            v->graph.sinks[i].name, &j) &&
            f->version->sinks[j] == v->sinks[i])
            continue;
        f->gone.out += mw_counted(&v->sinks[i]->events);
        f->gone.bytes_out += mw_counted(&v->sinks[i]->bytes);
    }
}

/* Oldest first: a host that two versions share is the older one's business until that is gone. */
static void on_sweep(uv_timer_t *timer)
{
    mw_reload *r = timer->data;
    mw_flow *f = r->flow;
    if (f->phase == MW_STOPPING || r->retired) return;
    mw_version **at = &f->version->next, **last = NULL;
    for (; *at; at = &(*at)->next) last = at;
    if (!last) {
        uv_timer_stop(timer);
        return;
    }
    if (!can_retire(*last)) return;
    r->retired = *last;
    *last = NULL;
    add_gone(f, r->retired);
    r->retiring = f->shards;
    mw_flow_broadcast(f, MW_MSG_RETIRE, 0, r->retired);
}

static void on_retired(mw_reload *r)
{
    if (--r->retiring > 0) return;
    mw_version_free_rules(r->retired);
    bury(r, r->retired);
    r->retired = NULL;
    mw_flow_look_around(r->flow);
}

void mw_reload_forget_empty(mw_flow *f)
{
    for (mw_version **at = &f->reload->dying, *v; (v = *at);) {
        if (atomic_load(&v->users) > 0) {
            at = &v->next;
            continue;
        }
        *at = v->next;
        mw_version_free(v);
    }
}

static void on_closed_source(mw_flow *f, mw_source_host *h)
{
    f->gone.in += mw_counted(&h->events);
    f->gone.bytes_in += mw_counted(&h->bytes);
    for (mw_version *v = f->version; v; v = v->next) /* its shard frees it, some time */
        for (uint32_t i = 0; i < v->graph.source_count * v->shards; i++)
            if (v->sources[i] == h) v->sources[i] = NULL;
}

int mw_reload_message(mw_flow *f, mw_message m)
{
    mw_reload *r = f->reload;
    mw_source_host *h = m.body;
    switch (m.kind) {
    case MW_MSG_OPENED:
        on_opened(r, m.body);
        return 1;
    case MW_MSG_ABANDONED:
        on_abandoned(r);
        return 1;
    case MW_MSG_SWAPPED:
        on_swapped(r, m.body);
        return 1;
    case MW_MSG_RETIRED:
        on_retired(r);
        return 1;
    case MW_MSG_CLOSED:
        on_closed_source(f, h);
        return 1;
    case MW_MSG_EMPTY:
        if (!h->control.removed) return 0;
        h->control.ended = h->control.empty = 1;
        for (mw_version *v = f->version; v && r->step != MW_RELOAD_SWAPPING; v = v->next)
            close_removed(f, v);
        return 1;
    default:
        return 0;
    }
}

/* ---- what others ask for ---- */

int mw_reload_is_busy(const mw_flow *f)
{
    return f->reload->step > MW_RELOAD_LOADING;
}

static void wait_for(mw_waiter **list, mw_report_done done, void *self)
{
    if (!done) return;
    mw_waiter *w = calloc(1, sizeof *w);
    mw_assert(w != NULL);
    *w = (mw_waiter){.next = *list, .done = done, .self = self};
    *list = w;
}

void mw_flow_reload(mw_flow *f, const char *why, mw_report_done done, void *self)
{
    mw_reload *r = f->reload;
    if (f->phase != MW_RUNNING) {
        mw_report_tell(done, self, "the router is starting or stopping");
        return;
    }
    if (r->step != MW_RELOAD_IDLE) {
        r->again = 1;
        wait_for(&r->later, done, self);
        return;
    }
    wait_for(&r->waiters, done, self);
    begin_load(r, NULL, why);
}

static void go_back(mw_reload *r, const char *why, mw_report_done done, void *self)
{
    unsigned live = r->flow->version->number;
    mw_version_record *to = NULL;
    for (unsigned i = 0; i < r->record_count && !to; i++)
        if (r->records[i].good && r->records[i].number < live &&
            strcmp(r->records[i].hash, r->flow->version->graph.version) != 0)
            to = &r->records[i];
    if (!to) {
        mw_report_tell(done, self, "there is no version to go back to");
        return;
    }
    mw_log(MW_WARN, "reload", "version %s is rolled back to %s: %s",
           r->flow->version->graph.version, to->hash, why);
    wait_for(&r->waiters, done, self);
    begin_load(r, to->files, why);
}

void mw_flow_rollback(mw_flow *f, mw_report_done done, void *self)
{
    if (f->phase != MW_RUNNING || f->reload->step != MW_RELOAD_IDLE)
        mw_report_tell(done, self, "a reload is under way, or the router is starting or stopping");
    else
        go_back(f->reload, "somebody asked for it", done, self);
}

void mw_reload_roll_back(mw_reload *r, const char *why)
{
    if (r->flow->phase == MW_RUNNING && r->step == MW_RELOAD_IDLE) go_back(r, why, NULL, NULL);
}

const char *mw_flow_refusal(const mw_flow *f)
{
    return f->reload && f->reload->refusal[0] ? f->reload->refusal : NULL;
}

/* ---- life ---- */

static void on_change(void *self)
{
    mw_flow_reload(self, "the files changed", NULL, NULL);
}

void mw_reload_open(mw_flow *f)
{
    mw_reload *r = f->reload;
    r->numbers = 1;
    uv_timer_init(f->loop, &r->sweep);
    r->sweep.data = r;
    mw_probation_open(r);
    if (f->options.watch) r->watch = mw_watch_new(f->loop, on_change, f);
}

void mw_reload_begin(mw_flow *f)
{
    mw_reload *r = f->reload;
    mw_version_record *record =
        remember(r, f->version->number, f->version->graph.version, f->version->files);
    snprintf(record->verdict, sizeof record->verdict, "live");
    if (r->watch) mw_watch_files(r->watch, f->version->files);
}

void mw_reload_close(mw_flow *f)
{
    mw_reload *r = f->reload;
    uv_close((uv_handle_t *)&r->sweep, NULL);
    uv_close((uv_handle_t *)&r->probation.timer, NULL);
    if (r->watch) mw_watch_close(r->watch);
    r->watch = NULL;
    r->again = 0;
    r->report.len = 0;
    mw_buffer_text(&r->report, "{\"accepted\":false,\"error\":\"the router is stopping\"}");
    tell_waiters(r, 0);
    r->waiters = r->later, r->later = NULL;
    tell_waiters(r, 0);
}

void mw_reload_free(mw_flow *f)
{
    mw_reload *r = f->reload;
    if (!r) return;
    if (r->next) mw_version_free(r->next);
    if (r->owns_files && r->step != MW_RELOAD_IDLE) mw_files_free(r->files);
    if (r->retired) bury(r, r->retired);
    for (mw_version *v = r->dying, *next; v; v = next) next = v->next, mw_version_free(v);
    if (r->record_count == 0 && f->version) mw_files_free(f->version->files);
    for (unsigned i = 0; i < r->record_count; i++) mw_files_free(r->records[i].files);
    mw_buffer_close(&r->report);
    free(r);
}
