/* folders.c: see folders.h. */
#include "base/folders.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

mw_status mw_folders_make(const char *folder, mw_error *error)
{
    char path[4096];
    snprintf(path, sizeof path, "%s", folder);
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != 0) continue;
        char was = *p;
        *p = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return mw_fail(error, MW_IO, "cannot make the folder '%s': %s", path, strerror(errno));
        *p = was;
        if (!was) return MW_OK;
    }
}
