/* paths.c: see paths.h. Children are lists: flows read tens of fields, and a list of tens beats a
 * hash. */
#include "event/paths.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

void mw_paths_init(mw_paths *p)
{
    *p = (mw_paths){.paths = calloc(MW_PATHS_MAX, sizeof *p->paths), .roots = MW_PATH_NONE};
    mw_assert(p->paths != NULL);
}

void mw_paths_close(mw_paths *p)
{
    for (int32_t i = 0; i < p->count; i++) free(p->paths[i].key);
    free(p->paths);
    *p = (mw_paths){0};
}

static int32_t first_child(const mw_paths *p, int32_t parent)
{
    return parent == MW_PATH_ROOT ? p->roots : p->paths[parent].child;
}

int32_t mw_paths_find(const mw_paths *p, int32_t parent, const char *key, size_t len)
{
    for (int32_t i = first_child(p, parent); i >= 0; i = p->paths[i].sibling) {
        const mw_path *path = &p->paths[i];
        if (path->key_len == len && path->index == 0 && memcmp(path->key, key, len) == 0) return i;
    }
    return MW_PATH_NONE;
}

int32_t mw_paths_find_index(const mw_paths *p, int32_t parent, uint32_t index)
{
    for (int32_t i = first_child(p, parent); i >= 0; i = p->paths[i].sibling)
        if (p->paths[i].index == index) return i;
    return MW_PATH_NONE;
}

static int32_t add(mw_paths *p, int32_t parent, const char *key, size_t len, uint32_t index)
{
    if (p->count == MW_PATHS_MAX) return MW_PATH_NONE;
    mw_path *path = &p->paths[p->count];
    *path = (mw_path){
        .index = index, .parent = parent, .child = MW_PATH_NONE, .sibling = first_child(p, parent)};
    if (index == 0) {
        path->key = malloc(len + 1);
        mw_assert(path->key != NULL);
        memcpy(path->key, key, len);
        path->key_len = (uint32_t)len;
    }
    if (parent == MW_PATH_ROOT) p->roots = p->count;
    else
        p->paths[parent].child = p->count;
    return p->count++;
}

int32_t mw_paths_key(mw_paths *p, int32_t parent, const char *key, size_t len)
{
    int32_t found = mw_paths_find(p, parent, key, len);
    return found >= 0 ? found : add(p, parent, key, len, 0);
}

int32_t mw_paths_index(mw_paths *p, int32_t parent, uint32_t index)
{
    int32_t found = mw_paths_find_index(p, parent, index);
    return found >= 0 ? found : add(p, parent, NULL, 0, index);
}
