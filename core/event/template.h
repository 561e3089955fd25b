/* template.h: text with fields in it: "out/{country}.ndjson", "{ts} {device.os}".
 *
 * Between braces stands the path of a field; "{{" is a brace. A missing field is written as
 * nothing. Thread: one at a time. */
#ifndef MW_TEMPLATE_H
#define MW_TEMPLATE_H

#include "base/buffer.h"
#include "base/status.h"

typedef struct mw_template mw_template;

mw_status mw_template_new(mw_template **t, const char *text, mw_error *error);
void mw_template_free(mw_template *t);
/* True when there is at least one field in it. */
int mw_template_has_fields(const mw_template *t);
/* Appends the text for an event (a valid JSON document). `path_safe`: what a field gives cannot
 * leave its folder: '/' and control characters become '_', as does a name of dots. */
void mw_template_render(mw_template *t, const char *text, size_t len, int path_safe,
                        mw_buffer *out);

#endif
