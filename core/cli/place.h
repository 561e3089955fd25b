/* place.h: where `moonweir state` finds rows: a state folder that no router has, or a router that
 * runs. */
#ifndef MW_CLI_PLACE_H
#define MW_CLI_PLACE_H

#include "state/store.h"

typedef struct mw_place mw_place;

/* `where`: a folder, or the admin address of a router. MW_IO: it is neither. */
mw_status mw_place_open(mw_place **place, const char *where, mw_error *error);
void mw_place_close(mw_place *p);
/* What a router keeps now is what is shown from here on. */
mw_status mw_place_settle(mw_place *p, mw_error *error);
/* Shows all rows that begin so, in order. */
mw_status mw_place_each(mw_place *p, const mw_buffer *prefix, mw_store_visit each, void *self,
                        mw_error *error);
/* Takes the lines of a file ("-": standard input) in, all or none, and counts them. */
mw_status mw_place_import(mw_place *p, const char *path, long *count, mw_error *error);

#endif
