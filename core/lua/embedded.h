/* embedded.h: the Lua runtime as bytecode inside the program, and the text of the modules that
 * flows may require ("module:NAME"); the table is made by the build from scripts/. */
#ifndef MW_EMBEDDED_H
#define MW_EMBEDDED_H

#include <stddef.h>

typedef struct mw_embedded {
    const char *name; /* as in require; NULL ends the table */
    const char *bytes;
    size_t len;
} mw_embedded;

extern const mw_embedded mw_embedded_modules[];

#endif
