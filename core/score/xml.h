/* xml.h: XML documents as trees of elements, by expat. Text is kept of
 * elements that hold nothing else. */
#ifndef MW_XML_H
#define MW_XML_H

#include "base/arena.h"
#include "base/status.h"

#include <stddef.h>

typedef struct mw_xml {
    const char *name;                            /* without its namespace's prefix */
    const char **attributes;                     /* names and values in turn, ended by NULL */
    const char *text;                            /* NULL: none */
    struct mw_xml *child, *next, *parent, *last; /* last: child */
} mw_xml;

/* MW_INVALID: it is no XML, or has a document type (which could define entities), with the line. */
mw_status mw_xml_read(mw_xml **root, mw_arena *arena, const char *bytes, size_t len,
                      mw_error *error);
int mw_xml_is(const mw_xml *e, const char *name);
/* The first child of that name; NULL: there is none. */
const mw_xml *mw_xml_child(const mw_xml *e, const char *name);
/* The next sibling of that name. */
const mw_xml *mw_xml_next(const mw_xml *e, const char *name);
const char *mw_xml_text(const mw_xml *e, const char *attribute, const char *fallback);
/* NaN where it is no number. */
double mw_xml_number(const mw_xml *e, const char *attribute, double fallback);

#endif
