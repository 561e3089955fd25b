/* paths.h: the field paths that a flow's rules read, learned as they are first read.
 *
 * A path is a chain of object keys and array indices from the root of an event: `device.os`,
 * `items[1].price`. Each has a number, counted from 0 in order of learning and never given again;
 * that number is the slot in which the projection leaves the field's value. Paths form a tree, so
 * that one pass over the bytes finds them all. Thread: a shard has its own; nothing is shared. */
#ifndef MW_PATHS_H
#define MW_PATHS_H

#include <stddef.h>
#include <stdint.h>

enum { MW_PATH_ROOT = -1, MW_PATH_NONE = -2, MW_PATHS_MAX = 512 };

typedef struct mw_path {
    char *key; /* owned; NULL for an array element */
    uint32_t key_len;
    uint32_t index;  /* array element, counted from 1 as in Lua; 0 for a key */
    int32_t parent;  /* a path or MW_PATH_ROOT */
    int32_t child;   /* first child or MW_PATH_NONE */
    int32_t sibling; /* next child of the same parent */
} mw_path;

typedef struct mw_paths {
    mw_path *paths;
    int32_t count;
    int32_t roots; /* first child of the root */
} mw_paths;

void mw_paths_init(mw_paths *p);
void mw_paths_close(mw_paths *p);
/* Finds or adds. MW_PATH_NONE when MW_PATHS_MAX are known: such fields are found by a scan each
 * time they are read. */
int32_t mw_paths_key(mw_paths *p, int32_t parent, const char *key, size_t len);
int32_t mw_paths_index(mw_paths *p, int32_t parent, uint32_t index);
/* Finds only. */
int32_t mw_paths_find(const mw_paths *p, int32_t parent, const char *key, size_t len);
int32_t mw_paths_find_index(const mw_paths *p, int32_t parent, uint32_t index);

#endif
