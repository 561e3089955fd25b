/* builtins.c: see builtins.h. A new kind is its file and a line here. */
#include "cli/builtins.h"

extern const mw_source_kind mw_source_stdin, mw_source_file, mw_source_http, mw_source_tcp,
    mw_source_unix, mw_source_udp, mw_source_generate, mw_source_clock, mw_source_redis,
    mw_source_kafka, mw_source_buffer;
extern const mw_sink_kind mw_sink_stdout, mw_sink_file, mw_sink_http, mw_sink_tcp, mw_sink_unix,
    mw_sink_udp, mw_sink_redis, mw_sink_kafka, mw_sink_discard, mw_sink_capture;

static const mw_source_kind *const sources[] = {
    &mw_source_stdin, &mw_source_file,  &mw_source_http,     &mw_source_tcp,
    &mw_source_unix,  &mw_source_udp,   &mw_source_generate, &mw_source_clock,
    &mw_source_redis, &mw_source_kafka, &mw_source_buffer,   NULL};
static const mw_sink_kind *const sinks[] = {
    &mw_sink_stdout, &mw_sink_file,  &mw_sink_http,  &mw_sink_tcp,     &mw_sink_unix,
    &mw_sink_udp,    &mw_sink_redis, &mw_sink_kafka, &mw_sink_discard, NULL};

const mw_kinds mw_builtins = {.sources = sources, .sinks = sinks, .capture = &mw_sink_capture};
