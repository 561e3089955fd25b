/* chunks.h: large pieces of memory for a table that grows.
 *
 * Memory that is touched for the first time has to be found and cleared by the system: milliseconds
 * for a piece that is one large page. A thread does that for the next piece while the last is being
 * used, so that whoever takes it does not wait; where it is not ready yet, a piece of small pages
 * is given, which cost a little each. Thread: its table's. */
#ifndef MW_CHUNKS_H
#define MW_CHUNKS_H

#include <stddef.h>

enum { MW_CHUNK_BYTES = 1 << 21 };

typedef struct mw_chunks mw_chunks;

mw_chunks *mw_chunks_new(void);
/* Frees all that were taken. */
void mw_chunks_free(mw_chunks *c);
/* MW_CHUNK_BYTES, aligned to as much; what is in them is not said. Never NULL. */
char *mw_chunks_take(mw_chunks *c);

#endif
