/* moved.h: rows of the store as lines of text, as `moonweir state` moves them: of a state folder or
 * a running router, out and in.
 *
 * A line is an object with "row" and "bytes", the key and the value in hexadecimal digits. Thread:
 * any, one at a time. */
#ifndef MW_MOVED_H
#define MW_MOVED_H

#include "state/keeper.h"

/* One entry of a keeper. All points into what it was read from. */
typedef struct mw_moved {
    const char *name; /* "state/st" */
    mw_key key;
    const char *row, *value;
    size_t row_len, len;
} mw_moved;

/* Appends "row" and "bytes" with their values: what is between the braces of a line. */
void mw_moved_write(mw_buffer *out, const char *row, size_t row_len, const char *value, size_t len);

/* Reads "row" and "bytes" of a line, whatever they are; 0: it has none. Contents are replaced. */
int mw_moved_line(const char *line, size_t len, mw_buffer *scratch, mw_buffer *row,
                  mw_buffer *value);

/* Takes a row of the store apart; 0: it is none of an entry. */
int mw_moved_row(mw_moved *m, const char *row, size_t row_len, const char *value, size_t len);

/* Reads lines. */
typedef struct mw_moved_reader {
    mw_buffer line, row, value;
    mw_keeper *keeper; /* that values are tried with */
} mw_moved_reader;

/* The declaration (its options) that is known under a name; NULL: none. Good until the next call.
 */
typedef const char *(*mw_moved_options)(void *self, const char *name);

/* Reads a line, and tries whether what is declared under its name can hold it. `m` is good until
 * the next call. MW_INVALID: it is no line of an export; MW_CONFIG: nothing of that name is kept.
 */
mw_status mw_moved_read(mw_moved_reader *r, const char *line, size_t len, mw_moved_options options,
                        void *self, mw_moved *m, mw_error *error);
void mw_moved_close(mw_moved_reader *r);

/* The keeper of a name as it is declared. */
mw_status mw_moved_keeper(mw_keeper **k, const char *name, const char *options, mw_error *error);

#endif
