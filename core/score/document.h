/* document.h: JSON files of models, and UBJSON ones, which are made JSON. */
#ifndef MW_DOCUMENT_H
#define MW_DOCUMENT_H

#include "base/buffer.h"
#include "base/status.h"
#include "event/json.h"

/* The document's root. `text` is a tidied copy that the values point into. */
mw_status mw_document_read(mw_buffer *text, const char *bytes, size_t len, const char *name,
                           mw_value *root, mw_error *error);
/* Appends a text in which words that Python writes, and JSON does not have, are null (NaN) and
 * numbers beyond all doubles (Infinity). */
void mw_document_tidy(mw_buffer *text, const char *bytes, size_t len);
/* UBJSON (ubjson.org, draft 12) as JSON text: numbers keep their values. */
mw_status mw_ubjson_text(mw_buffer *text, const char *bytes, size_t len, const char *name,
                         mw_error *error);

/* A member down a path of names ("learner.objective.name"); absent when there is none. */
mw_value mw_document_at(mw_value of, const char *path);
/* A list of numbers, to be freed: as float32 where `floats`; true and false are 1 and 0, null NaN,
 * texts are read as numbers. 0: it is no such list. */
int mw_document_numbers(mw_value list, int floats, double **numbers, size_t *count);
/* A number, or a text that is one. */
double mw_document_number(mw_value v, double fallback);
int mw_document_is(mw_value v, const char *text);

#endif
