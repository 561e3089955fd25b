/* buffer_links.c: which source is the intake of which buffer, and what is in buffers that no source
 * of the flow reads; see buffer.h. */
#include "base/log.h"
#include "flow/buffer.h"
#include "state/spool.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

static int is_reader(const mw_source_host *h)
{
    return h->source.kind == &mw_source_buffer;
}

/* "payments" and "payments.buffer" */
static int belongs(const mw_source_host *reader, const mw_source_host *intake)
{
    size_t len = strlen(intake->source.name);
    return strncmp(reader->source.name, intake->source.name, len) == 0 &&
           strcmp(reader->source.name + len, ".buffer") == 0;
}

static void tie(mw_source_host *reader, mw_source_host *intake)
{
    *mw_buffer_intake(reader) = intake;
    intake->buffer = reader->source.self;
    intake->source.buffered = 1;
}

void mw_buffer_link(mw_source_host *h)
{
    for (mw_source_host *other = h->shard->sources; other; other = other->next) {
        if (other == h || !other->open || is_reader(h) == is_reader(other)) continue;
        if (is_reader(h) && belongs(h, other)) tie(h, other);
        if (is_reader(other) && belongs(other, h)) tie(other, h);
    }
}

static void untie(mw_source_host *intake)
{
    intake->buffer = NULL;
    intake->source.buffered = 0;
}

void mw_buffer_unlink(mw_source_host *h)
{
    if (is_reader(h)) {
        for (mw_source_host *other = h->shard->sources; other; other = other->next)
            if (other->buffer == h->source.self) untie(other);
        return;
    }
    for (mw_source_host *reader = h->shard->sources; h->buffer && reader; reader = reader->next) {
        if (!is_reader(reader) || reader->source.self != h->buffer) continue;
        untie(h);
        if (*mw_buffer_intake(reader) != h) continue;
        *mw_buffer_intake(reader) = NULL;
        for (mw_source_host *other = h->shard->sources; other; other = other->next)
            if (other->buffer == reader->source.self) *mw_buffer_intake(reader) = other;
    }
}

/* ---- what nobody reads ---- */

static void look_at_orphan(const mw_flow *f, const char *name, const char *folder,
                           const char *index)
{
    mw_spool_report r;
    mw_buffer key = {0}, value = {0};
    uint64_t position = 0;
    if (mw_spool_verify(folder, &r, NULL) != MW_OK) return;
    mw_buffer_format(&key, "source/%s/%s", name, index);
    mw_buffer_append(&key, "", 1);
    if (mw_store_get(f->store, key.bytes, &value) && value.len >= sizeof position)
        memcpy(&position, value.bytes, sizeof position);
    if (r.end > position)
        mw_log(MW_WARN, "buffer",
               "'%s' has %llu bytes that were taken in, and no source of this flow reads them: "
               "declare the source '%.*s' with its buffer again, or remove the folder",
               folder, (unsigned long long)(r.end - position),
               (int)(strlen(name) - strlen(".buffer")), name);
    mw_buffer_close(&key);
    mw_buffer_close(&value);
}

void mw_buffer_look_for_orphans(const mw_flow *f)
{
    const mw_graph *g = &f->version->graph;
    mw_buffer pattern = {0};
    glob_t found = {0};
    uint32_t i;
    if (!f->store) return;
    mw_buffer_format(&pattern, "%s/buffers/*.buffer/*", f->options.state_folder);
    mw_buffer_append(&pattern, "", 1);
    int none = glob(pattern.bytes, GLOB_ONLYDIR, NULL, &found);
    for (size_t n = 0; none == 0 && n < found.gl_pathc; n++) {
        char name[300];
        char *folder = found.gl_pathv[n], *index = strrchr(folder, '/');
        const char *from = index;
        while (from > folder && from[-1] != '/') from--;
        snprintf(name, sizeof name, "%.*s", (int)(index - from), from);
        if (!mw_version_find(g->sources, g->source_count, name, &i))
            look_at_orphan(f, name, folder, index + 1);
    }
    globfree(&found);
    mw_buffer_close(&pattern);
}
