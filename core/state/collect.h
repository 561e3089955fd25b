/* collect.h: the last `most` values, oldest first. Memory: 16 bytes a value, and their texts. */
#ifndef MW_COLLECT_H
#define MW_COLLECT_H

#include "state/kept.h"

typedef struct mw_collect mw_collect;

void mw_collect_add(mw_collect **c, uint32_t most, const mw_value *value);
/* Behind what is there. */
void mw_collect_merge(mw_collect **into, const mw_collect *from);
void mw_collect_json(const mw_collect *c, mw_buffer *out);
void mw_collect_free(mw_collect *c);
size_t mw_collect_bytes(const mw_collect *c);
void mw_collect_save(const mw_collect *c, mw_buffer *out);
int mw_collect_load(mw_collect **c, const char **at, const char *end);

#endif
