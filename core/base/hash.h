/* hash.h: 64-bit hash of bytes, for keys, shapes and versions.
 *
 * The mixing step is the 64×64→128 bit multiply-and-fold of Wang Yi's wyhash (public domain;
 * github.com/wangyi-fudan/wyhash); the result is the same on every machine of one byte order,
 * because key groups are kept in checkpoints. Any thread. */
#ifndef MW_HASH_H
#define MW_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t mw_hash(const void *bytes, size_t len);

#endif
