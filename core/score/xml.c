/* xml.c: see xml.h. */
#include "score/xml.h"

#include "base/buffer.h"

#include <expat.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEEP = 1000 };

typedef struct reader {
    XML_Parser parser;
    mw_arena *arena;
    mw_xml *root, *open;
    int depth;
    const char *fault;
    mw_buffer text; /* since the last tag */
} reader;

static const char *copy(reader *r, const char *text)
{
    return mw_arena_copy(r->arena, text, strlen(text) + 1);
}

static void stop(reader *r, const char *why)
{
    r->fault = why;
    XML_StopParser(r->parser, XML_FALSE);
}

static void begin(void *self, const char *name, const char **attributes)
{
    reader *r = self;
    const char *colon = strrchr(name, ':');
    size_t count = 0;
    if (++r->depth > DEEP) {
        stop(r, "it is nested too deeply");
        return;
    }
    r->text.len = 0;
    while (attributes[count]) count++;
    mw_xml *e = mw_arena_get(r->arena, sizeof *e);
    *e = (mw_xml){.name = copy(r, colon ? colon + 1 : name), .parent = r->open};
    e->attributes = mw_arena_get(r->arena, (count + 1) * sizeof *e->attributes);
    for (size_t i = 0; i < count; i++) e->attributes[i] = copy(r, attributes[i]);
    e->attributes[count] = NULL;
    if (!r->open) r->root = e;
    else if (r->open->last)
        r->open->last->next = e, r->open->last = e;
    else
        r->open->child = r->open->last = e;
    r->open = e;
}

static void text(void *self, const char *bytes, int len)
{
    reader *r = self;
    mw_buffer_append(&r->text, bytes, (size_t)len);
}

static void end(void *self, const char *name)
{
    reader *r = self;
    (void)name;
    r->depth--;
    if (r->text.len && !r->open->child) {
        mw_buffer_append(&r->text, "", 1);
        r->open->text = copy(r, r->text.bytes);
    }
    r->text.len = 0;
    r->open = r->open->parent;
}

static void doctype(void *self, const char *name, const char *system, const char *public, int inner)
{
    (void)name, (void)system, (void)public, (void)inner;
    stop(self, "it has a document type, which is not accepted");
}

mw_status mw_xml_read(mw_xml **root, mw_arena *arena, const char *bytes, size_t len,
                      mw_error *error)
{
    reader r = {.arena = arena, .parser = XML_ParserCreate(NULL)};
    mw_assert(r.parser != NULL);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, begin, end);
    XML_SetCharacterDataHandler(r.parser, text);
    XML_SetStartDoctypeDeclHandler(r.parser, doctype);
    int good = 1;
    for (size_t at = 0; good && (at < len || !len);) {
        size_t some = len - at < 1 << 20 ? len - at : 1 << 20;
        good = XML_Parse(r.parser, bytes + at, (int)some, at + some == len) == XML_STATUS_OK;
        at += some;
        if (!len) break;
    }
    mw_status status = MW_OK;
    if (!good)
        status = mw_fail(error, MW_INVALID, "line %lu: %s", XML_GetCurrentLineNumber(r.parser),
                         r.fault ? r.fault : XML_ErrorString(XML_GetErrorCode(r.parser)));
    XML_ParserFree(r.parser);
    mw_buffer_close(&r.text);
    *root = r.root;
    if (status == MW_OK && !r.root) status = mw_fail(error, MW_INVALID, "it has no element");
    return status;
}

int mw_xml_is(const mw_xml *e, const char *name)
{
    return strcmp(e->name, name) == 0;
}

const mw_xml *mw_xml_next(const mw_xml *e, const char *name)
{
    for (e = e->next; e; e = e->next)
        if (mw_xml_is(e, name)) return e;
    return NULL;
}

const mw_xml *mw_xml_child(const mw_xml *e, const char *name)
{
    return e->child && mw_xml_is(e->child, name) ? e->child
           : e->child                            ? mw_xml_next(e->child, name)
                                                 : NULL;
}

const char *mw_xml_text(const mw_xml *e, const char *attribute, const char *fallback)
{
    for (size_t i = 0; e->attributes[i]; i += 2)
        if (strcmp(e->attributes[i], attribute) == 0) return e->attributes[i + 1];
    return fallback;
}

double mw_xml_number(const mw_xml *e, const char *attribute, double fallback)
{
    const char *text = mw_xml_text(e, attribute, NULL);
    char *rest;
    if (!text) return fallback;
    double number = strtod(text, &rest);
    return rest > text && !*rest ? number : NAN;
}
