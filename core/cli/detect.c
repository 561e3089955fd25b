/* detect.c: moonweir detect: a series in, an anomaly a line out. */
#include "cli/command.h"

#include "event/format.h"
#include "event/json.h"
#include "event/time.h"
#include "score/detector.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MOST = 1 << 20 };

typedef struct series {
    mw_detector *detector;
    void *state;
    const char *time, *value, *time_format;
    mw_buffer out;
    uint64_t point;
    mw_error error;
} series;

/* A csv field is a text; a number in it is one. */
static double number_of(const mw_value *v)
{
    char text[64], *end;
    if (v->kind == MW_NUMBER) return v->number;
    if ((v->kind != MW_STRING && v->kind != MW_INTEGER) || !v->len || v->len >= sizeof text)
        return NAN;
    memcpy(text, v->text, v->len), text[v->len] = 0;
    double number = strtod(text, &end);
    return *end ? NAN : number;
}

static int read_time(const series *s, const mw_value *v, double *time_s)
{
    static const char *const usual[] = {"auto", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S",
                                        "%Y-%m-%d %H:%M", "%Y-%m-%d"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        mw_time_format f;
        int64_t at;
        const char *name = s->time_format ? s->time_format : usual[i];
        if (mw_time_format_find(&f, name) && mw_time_read(&f, v, 0, &at)) {
            *time_s = (double)at / 1e9;
            return 1;
        }
        if (s->time_format) break;
    }
    return 0;
}

static mw_status take(series *s, const mw_event *e)
{
    s->point++;
    if (e->dead || mw_json_check(e->text, e->len) >= 0)
        return mw_fail(&s->error, MW_INVALID, "stdin: point %llu is no valid record",
                       (unsigned long long)s->point);
    mw_value whole = mw_json_value(e->text, e->len);
    mw_value value = mw_json_field(whole, s->value);
    double number = number_of(&value), time_s = NAN;
    if (!mw_detector_wants_value(s->detector)) number = 0;
    else if (isnan(number) && value.kind != MW_NULL && value.len)
        return mw_fail(&s->error, MW_INVALID, "stdin: point %llu: '%s' is no number (%.*s)",
                       (unsigned long long)s->point, s->value,
                       (int)(value.len < 60 ? value.len : 60), value.text);
    else if (value.kind == MW_ABSENT)
        return mw_fail(&s->error, MW_INVALID, "stdin: point %llu has no '%s'",
                       (unsigned long long)s->point, s->value);
    if (s->time) {
        mw_value at = mw_json_field(whole, s->time);
        if (!read_time(s, &at, &time_s))
            return mw_fail(&s->error, MW_INVALID,
                           "stdin: point %llu: '%s' is no time that is known (%.*s); --time-format "
                           "says how it is written",
                           (unsigned long long)s->point, s->time, (int)(at.len < 60 ? at.len : 60),
                           at.text ? at.text : "");
    }
    mw_json_number(&s->out, mw_detector_point(s->detector, s->state, number, time_s));
    mw_buffer_append(&s->out, "\n", 1);
    return MW_OK;
}

static mw_status take_frames(series *s, mw_stream *stream, const char *text, size_t len, int first)
{
    mw_batch *b = mw_batch_new(len + 1);
    mw_status status = MW_OK;
    memcpy(b->block, text, len);
    memset(b->block + len, 0, MW_JSON_PADDING);
    b->len = len, b->stream = stream, b->first = (unsigned)first & 1;
    stream->format->split(b);
    for (uint32_t i = 0; status == MW_OK && i < b->count; i++) status = take(s, &b->events[i]);
    mw_batch_free(b);
    return status;
}

static mw_status run(series *s)
{
    mw_buffer pending = {0};
    mw_config *config = mw_config_new("{}", 2);
    mw_stream stream = {0};
    mw_status status = MW_OK;
    for (int begun = 0, first = 1, final = 0; status == MW_OK && !final;) {
        size_t whole = 0;
        status = mw_command_read(&pending, &final, &s->error);
        if (!pending.len) continue;
        if (!begun++)
            mw_stream_init(&stream,
                           mw_format_find(memchr("{ \n", *pending.bytes, 3) ? "ndjson" : "csv"),
                           config, LINE_MOST);
        if (status == MW_OK)
            status = stream.format->boundary(&stream, pending.bytes, pending.len, final, &whole,
                                             &s->error);
        if (status == MW_OK && whole) {
            status = take_frames(s, &stream, pending.bytes, whole, first);
            mw_buffer_consume(&pending, whole);
            first = 0;
        }
        mw_status written = mw_command_write(&s->out, &s->error);
        if (status == MW_OK) status = written;
    }
    if (stream.format) mw_stream_close(&stream);
    mw_config_free(config), mw_buffer_close(&pending);
    return status;
}

/* The options of the kind, "NAME=VALUE,NAME=VALUE", as a config. */
static mw_config *options_of(const char *text)
{
    mw_buffer json = {0};
    mw_buffer_text(&json, "{");
    for (const char *at = text; at && *at;) {
        size_t len = strcspn(at, ","), name = strcspn(at, "=,");
        if (at != text) mw_buffer_text(&json, ",");
        mw_json_quote(&json, at, name);
        mw_buffer_text(&json, ":");
        if (strncmp(at, "seasons=", 8) == 0) { /* 288+2016 */
            mw_buffer_text(&json, "[");
            for (const char *p = at + 8, *end = at + len; p < end; p++) {
                size_t digits = strcspn(p, "+,");
                if (p != at + 8) mw_buffer_text(&json, ",");
                mw_json_quote(&json, p, digits);
                p += digits;
            }
            mw_buffer_text(&json, "]");
        } else {
            mw_json_number(&json, name < len ? strtod(at + name + 1, NULL) : NAN);
        }
        at += len + (at[len] == ',');
    }
    mw_buffer_text(&json, "}");
    mw_config *c = mw_config_new(json.bytes, json.len);
    mw_buffer_close(&json);
    return c;
}

/* NAME=NUMBER, of names that the kind has; of seasons NUMBER+NUMBER…, which are looked at when the
 * detector is made. */
static mw_status check_settings(const char *text, const char *kind, mw_error *error)
{
    char name[64], *end;
    for (const char *at = text; at && *at;) {
        size_t len = strcspn(at, ","), name_len = strcspn(at, "=,");
        snprintf(name, sizeof name, "%.*s", (int)name_len, at);
        if (mw_detector_options(kind) && !mw_detector_has(kind, name))
            return mw_fail(error, MW_CONFIG, "the detector '%s' has no option '%s'", kind, name);
        if (name_len < len) strtod(at + name_len + 1, &end);
        if (name_len == len || (strcmp(name, "seasons") != 0 && end != at + len) ||
            end == at + name_len + 1)
            return mw_fail(error, MW_CONFIG, "--set wants %s=NUMBER, not '%.*s'", name, (int)len,
                           at);
        at += len + (at[len] == ',');
    }
    return MW_OK;
}

int mw_command_detect(int argc, char **argv)
{
    series s = {.value = "value"};
    const char *kind = "auto", *settings = NULL;
    mw_argument known[] = {{"time", &s.time, NULL},   {"time-format", &s.time_format, NULL},
                           {"value", &s.value, NULL}, {"kind", &kind, NULL},
                           {"set", &settings, NULL},  {NULL}};
    if (mw_command_arguments(argc, argv, known, NULL, NULL, 0) != 0) return MW_EXIT_WRONG;
    mw_config *config = options_of(settings); /* of settings that are good, if they are */
    mw_status status = check_settings(settings, kind, &s.error);
    if (status == MW_OK) status = mw_detector_new(&s.detector, kind, config, &s.error);
    mw_config_free(config);
    if (status == MW_OK && !mw_detector_wants_value(s.detector) && !s.time)
        status =
            mw_fail(&s.error, MW_CONFIG,
                    "the detector '%s' is about times: --time says which field has them", kind);
    if (status != MW_OK) {
        mw_command_complain(s.error.message);
        mw_detector_free(s.detector);
        return MW_EXIT_WRONG;
    }
    s.state = calloc(1, mw_detector_bytes(s.detector));
    mw_assert(s.state != NULL);
    status = run(&s);
    if (status != MW_OK) mw_command_complain(s.error.message);
    free(s.state), mw_detector_free(s.detector), mw_buffer_close(&s.out);
    return status == MW_OK ? MW_EXIT_DONE : MW_EXIT_FAILED;
}
