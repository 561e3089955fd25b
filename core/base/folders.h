/* folders.h: making folders. Any thread. */
#ifndef MW_FOLDERS_H
#define MW_FOLDERS_H

#include "base/status.h"

/* Makes a folder, and those that it is in, where they are missing. MW_IO: one cannot be made. */
mw_status mw_folders_make(const char *folder, mw_error *error);

#endif
