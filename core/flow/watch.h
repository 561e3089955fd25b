/* watch.h: notices that files were changed: written to, renamed over, or reached by another way
 * because a symbolic link on it was swapped (as Kubernetes updates a ConfigMap).
 *
 * The folders of the files, and those that their links lead through, are watched with inotify;
 * whatever happens there makes it compare the files' marks (files.h) once nothing more has happened
 * for a moment. Where no notice comes (some network file systems) it looks once a second. Thread:
 * the loop's. */
#ifndef MW_WATCH_H
#define MW_WATCH_H

#include "lua/files.h"

#include <uv.h>

typedef struct mw_watch mw_watch;

mw_watch *mw_watch_new(uv_loop_t *loop, void (*changed)(void *self), void *self);
/* Watches these files from now on, whose marks are those they were read with; in place of the ones
 * before. What has changed already is told at once. */
void mw_watch_files(mw_watch *w, const mw_files *files);
/* Frees itself when the loop has run. */
void mw_watch_close(mw_watch *w);

#endif
