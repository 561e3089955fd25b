/* json.h: JSON (RFC 8259) read in place: validated whole, projected by path, decoded never.
 *
 * Every function reads bytes that are followed by at least MW_JSON_PADDING readable bytes (of any
 * content): that is what lets it look at 32 bytes at a time. Depth is limited to MW_JSON_DEPTH.
 * Duplicate keys: the last one counts. Text must be UTF-8. Thread: a projector belongs to one
 * shard; the rest is any thread. */
#ifndef MW_JSON_H
#define MW_JSON_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"
#include "event/paths.h"
#include "event/value.h"

enum { MW_JSON_PADDING = 64, MW_JSON_DEPTH = 512 };

/* What is wrong with a document, and where: `at` is the byte offset in it. */
typedef struct mw_json_fault {
    const char *what;
    size_t at;
} mw_json_fault;

/* Validates one value surrounded by optional white space and fills values[0 .. paths->count) with
 * what `paths` name. MW_INVALID with `fault` filled when the bytes are not one JSON value. */
mw_status mw_json_scan(const char *text, size_t len, const mw_paths *paths, mw_value *values,
                       mw_json_fault *fault);

/* -1 when the bytes are one JSON value, else where they are not. */
int mw_json_check(const char *text, size_t len);

/* A projector does what mw_json_scan does, faster, for documents that look like those before them:
 * it remembers which bytes (punctuation and keys) stood between one scalar and the next, compares
 * those in one go, and leaves to the scanner what it has not seen. Any answer is the scanner's. The
 * idea of speculating on where fields are is from Mison (Li et al., VLDB 2017, section 4); this one
 * speculates on the whole skeleton, which makes validation part of the comparison. */
typedef struct mw_projector mw_projector;
mw_projector *mw_projector_new(const mw_paths *paths); /* paths are borrowed and may grow */
void mw_projector_free(mw_projector *p);
mw_status mw_projector_run(mw_projector *p, const char *text, size_t len, mw_value *values,
                           mw_json_fault *fault);

/* Two documents at once, for speed. 1: both are valid and projected, as mw_projector_run would have
 * done; 0: they are not alike, or not valid: run each alone. */
typedef struct mw_pair {
    const char *text[2];
    size_t len[2];
    mw_value *values[2];
} mw_pair;
int mw_projector_run_pair(mw_projector *p, const mw_pair *documents);

/* The value of one key (or, with key NULL, of the index-th element counted from 1) of a *valid*
 * object or array. */
mw_value mw_json_member(const char *text, size_t len, const char *key, size_t key_len,
                        uint32_t index);

/* Cuts an array of objects or arrays into its elements, which are not validated: where each of them
 * is valid, so is the array. 0 when it is no such array, after some elements may have been told. */
typedef void (*mw_json_element)(void *self, const char *text, size_t len);
int mw_json_split(const char *text, size_t len, mw_json_element found, void *self);

/* One value at the start of valid text, its kind and extent. */
mw_value mw_json_value(const char *text, size_t len);

/* Number of members of a valid object or elements of a valid array. */
size_t mw_json_length(const char *text, size_t len);

/* Walks the members of a valid object or array. Start with *cursor = 0; returns 0 at the end. For
 * arrays key is empty. */
int mw_json_next(const char *text, size_t len, size_t *cursor, mw_value *key, mw_value *value);

/* Appends the string that escaped text (as in MW_ESCAPED) means; lone surrogates become U+FFFD. */
void mw_json_unescape(mw_buffer *out, const char *text, size_t len);
/* Appends a quoted JSON string; bytes that are not UTF-8 become U+FFFD. */
void mw_json_quote(mw_buffer *out, const char *text, size_t len);
/* Appends the shortest decimal that reads back as the same double; NaN and infinities become null.
 */
void mw_json_number(mw_buffer *out, double number);
/* The length of the longest prefix that is UTF-8. */
size_t mw_utf8_prefix(const char *text, size_t len);

/* A change to an event: `path` gets `text` (one JSON value), or goes away where text is NULL. */
typedef struct mw_edit {
    const char **keys; /* path from the root; a NULL key means an array index */
    const uint32_t *key_lens;
    const uint32_t *indices;
    uint32_t depth;
    uint32_t text_len;
    const char *text;
} mw_edit;

/* Appends `text` (a valid object) with the edits made, in order; bytes that no edit touches stay as
 * they are. */
mw_status mw_json_splice(mw_buffer *out, const char *text, size_t len, const mw_edit *edits,
                         size_t count, mw_error *error);

/* The member of that name; absent when there is none, and in what is no object. */
mw_value mw_json_field(mw_value of, const char *name);
/* A hash of what a value means, for keys: escaped and plain texts that are equal have the same. */
uint64_t mw_json_hash(const mw_value *v);

#endif
