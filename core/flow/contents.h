/* contents.h: what a running flow keeps by key, looked at and moved from outside (the admin
 * interface). Control's thread. */
#ifndef MW_CONTENTS_H
#define MW_CONTENTS_H

#include "flow/flow.h"

/* Calls back when all that is kept now is in the state folder; at the latest when the flow stops.
 */
void mw_flow_checkpoint(mw_flow *f, mw_report_done done, void *self);

/* Appends lines (state/moved.h) of the rows of the state folder that begin with `prefix`, those
 * behind the row `after` (empty: all), until there are about `most` bytes. */
void mw_flow_rows(const mw_flow *f, const mw_buffer *prefix, const mw_buffer *after, size_t most,
                  mw_buffer *out);

/* Takes lines in: what they say takes the place of what is kept under their keys. Nothing is, when
 * one of them is wrong: the report's error begins with the number of the
 * line and a colon. With `tries`, nothing is in any case. */
void mw_flow_import(mw_flow *f, const char *lines, size_t len, int tries, mw_report_done done,
                    void *self);

#endif
