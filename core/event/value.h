/* value.h: one JSON value as a view of its bytes.
 *
 * A projection leaves one mw_value for each path. Nothing is copied: `text` points into the event's
 * bytes and lives as long as its batch. Lua reads this struct through the FFI: its layout is
 * repeated in scripts/moonweir/core.lua. */
#ifndef MW_VALUE_H
#define MW_VALUE_H

#include <stdint.h>

typedef enum mw_kind {
    MW_ABSENT = 0,
    MW_STRING, /* text is what stands between the quotes, and is the string itself */
    MW_NUMBER, /* number holds it exactly, or as near as a double comes */
    MW_NULL,
    MW_FALSE,
    MW_TRUE,
    MW_ESCAPED, /* a string with escapes: text is still escaped */
    MW_INTEGER, /* an integer that a double cannot hold: text is its digits */
    MW_OBJECT,  /* text begins at its bracket */
    MW_ARRAY,
} mw_kind;

typedef struct mw_value {
    double number;
    const char *text;
    uint32_t len;
    uint32_t kind;
} mw_value;

#endif
