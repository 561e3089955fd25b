/* member.h: has this value come before? Exact for the first MW_MEMBER_EXACT values, then a Bloom
 * filter (Bloom, CACM 1970; two hashes make all, Kirsch and Mitzenmacher 2006) made for `capacity`
 * values: it never forgets one, and takes at most 1 % of others for known as long as no more come.
 * Memory: 8 to 16 bytes a value, then 10 bits a value of the capacity, rounded up to a power of
 * two. */
#ifndef MW_MEMBER_H
#define MW_MEMBER_H

#include "base/buffer.h"

#include <stdint.h>

enum { MW_MEMBER_EXACT = 256 };

typedef struct mw_member mw_member;

void mw_member_add(mw_member **m, uint32_t capacity, uint64_t hash);
int mw_member_has(const mw_member *m, uint64_t hash);
void mw_member_free(mw_member *m);
size_t mw_member_bytes(const mw_member *m);
void mw_member_save(const mw_member *m, mw_buffer *out);
int mw_member_load(mw_member **m, const char **at, const char *end);

#endif
