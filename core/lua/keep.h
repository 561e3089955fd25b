/* keep.h: windows, records and timers as rules use them: called from Lua through a view.
 *
 * A flow numbers what it keeps; a `mw_use` ties a number to the keeper on this shard, and to the
 * paths of the fields that make its key and feed it. Keys and values come from a row's slots, or,
 * where a rule has changed its event or has a table, from `mw_view_given`. Thread: the view's
 * shard. */
#ifndef MW_KEEP_H
#define MW_KEEP_H

#include "lua/view.h"
#include "state/keeper.h"
#include "state/records.h"

enum { MW_USE_PARTS = 64, MW_USE_AHEAD = 64 };

/* What a call came to, besides what mw_window_add says. */
enum {
    MW_KEEP_NO_RULE = 8,     /* not while a rule runs */
    MW_KEEP_ELSEWHERE,       /* the key lives on another shard */
    MW_KEEP_NOT_NUMBER,      /* the value is none */
    MW_KEEP_KEY_ABSENT = 16, /* + number of the part */
    MW_KEEP_KEY_ODD = 32,    /* + number of the part */
    MW_KEEP_KEY_LONG = 48,
};

struct mw_detector;

struct mw_use {
    mw_keeper *keeper; /* borrowed; NULL: not yet */
    int32_t paths[MW_USE_PARTS];
    uint32_t parts;     /* of the key */
    const char *fields; /* of the record that was got */
    /* Keys of rows to come are being fetched from memory: from row `from` on, those before `hashed`
     * in the index, those before `fetched` as entries; at row `turn` it goes on. */
    uint32_t generation, from, hashed, fetched, turn;
    struct {
        uint64_t hash;
        uint32_t id; /* of the entry that is probably meant; 0: none */
    } ahead[MW_USE_AHEAD];
};

/* Ties part `part` (those of the key, then the inputs) of what is kept under `index` to a path. */
void mw_view_use(mw_view *v, uint32_t index, uint32_t part, int32_t path);
/* By C: which keeper it is. */
void mw_view_attach(mw_view *v, uint32_t index, mw_keeper *k);

/* How many parts the keys of a state have from now on; they begin with one. */
void mw_view_key_parts(mw_view *v, uint32_t index, uint32_t parts);
/* The n-th value that the next call with `given` set works with. */
mw_value *mw_view_given(mw_view *v, uint32_t n);

/* ---- keys that live on another shard ---- */

enum mw_far_operation {
    MW_FAR_ADD, /* the answer: what mw_window_add says, the result, and corrections */
    MW_FAR_GET, /* 1 and the result, or 0 */
    MW_FAR_RECORD_GET,
    MW_FAR_RECORD_READ,
    MW_FAR_RECORD_SET,
    MW_FAR_RECORD_INCREMENT,
    MW_FAR_RECORD_DELETE,
    MW_FAR_RECORD_REPLACE, /* by the fields of an object */
    MW_FAR_RECORD_COMPARE, /* sets a field to the second value, if it is the first */
    MW_FAR_RECORD_PUSH,    /* appends to a list, of which the last `by` stay (0: all); the list */
    MW_FAR_RECORD_LIVE,    /* nothing but a time to live */
    MW_FAR_TIMER_AFTER,    /* `by`: nanoseconds from now */
    MW_FAR_TIMER_AT,       /* `by`: seconds since 1970 */
    MW_FAR_TIMER_CANCEL,
    MW_FAR_DETECT, /* the anomaly, or null where the value is no number; and its patience */
};

/* A call on its way to the key's shard and back. Everything is its own. */
struct mw_far {
    enum mw_far_operation operation;
    uint32_t index; /* of what is kept */
    unsigned from;
    void *version;
    mw_parked *parked;
    mw_key key;
    mw_buffer key_bytes, name;
    mw_kept *values; /* inputs of a window; the value of a field */
    uint32_t value_count;
    double by;
    const struct mw_detector *detector; /* the asking state's, which waits */
    int64_t at_ns, ttl_ns;              /* ttl_ns: of the record from now on; -1: as it is */
    int status;
    mw_buffer answer; /* JSON */
};

/* Calls an operation on the key of a row, or given, which is not here. The number of the question,
 * as of mw_view_ask. `name` is of a field; `ttl_ns` of the record, -1: as it is. */
uint32_t mw_view_call(mw_view *v, uint32_t index, uint32_t operation, uint32_t row, int given,
                      const char *name, uint32_t len, double by, double ttl_ns);
/* The same for a detector: MW_FAR_DETECT. */
uint32_t mw_view_call_detector(mw_view *v, uint32_t index, const struct mw_detector *d,
                               uint32_t row, int given);
/* Does it, on the key's shard. */
void mw_far_do(mw_far *f, mw_keeper *k, int64_t watermark_ns);
void mw_far_free(mw_far *f);

/* ---- windows ---- */

/* mw_window_add for a row: from its slots, or given. The view's numbers and results then are the
 * window's. */
int mw_view_add(mw_view *v, uint32_t index, uint32_t row, int given);
/* By the key given: 1, and numbers and results; 0: nothing; or a fault. */
int mw_view_get(mw_view *v, uint32_t index);
int mw_view_correction(mw_view *v, uint32_t index);
/* A result's number that is no scalar, into v->key.number; or its JSON, into v->out. 0: it is over.
 */
int mw_view_more(mw_view *v, uint32_t index, uint32_t id, double epoch, double pane, uint32_t span,
                 uint32_t aggregate, int json);
/* The key of the result that was closed last, into v->key; of several parts as JSON into v->out,
 * and its kind is MW_ARRAY. */
void mw_view_result_key(mw_view *v, uint32_t index);

/* ---- records, all by the key given ---- */

/* Number of fields, which are then read one by one; -1: there is no record; or a fault. */
int mw_view_record_get(mw_view *v, uint32_t index);
/* Field n of it: its name into v->key, its value into v->found. */
void mw_view_record_field(mw_view *v, uint32_t index, uint32_t n);
/* One field by name, into v->found. 1: the record is there. */
int mw_view_record_read(mw_view *v, uint32_t index, const char *name, uint32_t len);
/* Sets a field to the value given behind the key. */
int mw_view_record_set(mw_view *v, uint32_t index, const char *name, uint32_t len);
/* The sum into v->key.number; -1: the field is no number. */
int mw_view_record_increment(mw_view *v, uint32_t index, const char *name, uint32_t len, double by);
int mw_view_record_clear(mw_view *v, uint32_t index);
int mw_view_record_delete(mw_view *v, uint32_t index);
int mw_view_record_live(mw_view *v, uint32_t index, double ttl_ns);
/* The next record of a walk, whose cursor begins with zeros: its key as of mw_view_result_key, its
 * fields as of mw_view_record_get. 0: no more. */
int mw_view_record_next(mw_view *v, uint32_t index, struct mw_record_cursor *cursor);

/* ---- detectors ---- */

/* Judges a row's value by its key, or those given, and learns from it: the anomaly into
 * v->key.number, and mw_detector_patience into v->found.number. MW_KEEP_NOT_NUMBER, or another
 * fault. A value that is missing or null is no point: 0. */
int mw_view_detect(mw_view *v, uint32_t index, const struct mw_detector *d, uint32_t row,
                   int given);

/* ---- timers ---- */

/* Sets the timer of the key given, with the data behind it, `after_ns` from now, or `at_ns`. */
int mw_view_timer_set(mw_view *v, uint32_t index, double after_ns, double at_s);
int mw_view_timer_cancel(mw_view *v, uint32_t index);
/* Takes the timer of the key given, whose data is a number, where it would have fired by the row's
 * time, had that come before: 1, the number in v->found.number, its time in v->key.number. */
int mw_view_timer_overdue(mw_view *v, uint32_t index);
/* Sets the timer of the key given to the next beat of a period, counted from 1970; beats that were
 * missed are left out. */
int mw_view_timer_beat(mw_view *v, uint32_t index, double period_ns);

/* ---- what is due ---- */

/* How far time has come. `by_row`: with the marks of the rows, but not past `others_ns`. */
void mw_view_time(mw_view *v, int64_t watermark_ns, int by_row, int64_t others_ns,
                  int64_t clock_ns);
/* Number of what is next due before a row: a window that was closed, or a timer that fires, its key
 * and data as of mw_view_result_key and v->found, its time in v->now. -1: nothing (more now). */
int32_t mw_view_next_due(mw_view *v, uint32_t row);
/* There is more that is due than one run should do. */
int mw_view_has_more(const mw_view *v);
/* When next something is due. */
int64_t mw_view_due(const mw_view *v);
int64_t mw_view_due_by_clock(const mw_view *v);

#endif
