/* config.h: the options of one declaration, as the flow wrote them and the runtime checked them.
 *
 * Options arrive as one JSON object with units resolved: durations in nanoseconds, sizes in bytes.
 * A name may be a path
 * ("rotate.size"). Text that is returned lives as long as the config. Thread: any, after it is
 * made. */
#ifndef MW_CONFIG_H
#define MW_CONFIG_H

#include <stddef.h>
#include <stdint.h>

typedef enum mw_option_type {
    MW_OPT_TEXT,
    MW_OPT_TEXTS, /* a text or a list of them */
    MW_OPT_NUMBER,
    MW_OPT_COUNT,    /* a whole number, not negative */
    MW_OPT_DURATION, /* "250ms", "60s", "24h", or seconds */
    MW_OPT_SIZE,     /* "64KiB", "1GiB", or bytes */
    MW_OPT_BOOL,
    MW_OPT_TABLE, /* of options of its own: see `inside` */
    MW_OPT_MAP,   /* any names to texts */
} mw_option_type;

/* One option that a kind knows. A table of them ends with a NULL name. */
typedef struct mw_option {
    const char *name;
    mw_option_type type;
    const char *fallback; /* as one would write it; NULL: none; "!" : the option must be given */
    const char *doc;
    const char *choices; /* "a|b|c", or NULL */
    const struct mw_option *inside;
} mw_option;

typedef struct mw_config mw_config;

mw_config *mw_config_new(const char *json, size_t len);
void mw_config_free(mw_config *c);
const char *mw_config_text(mw_config *c, const char *name, const char *fallback);
double mw_config_number(mw_config *c, const char *name, double fallback);
int64_t mw_config_int(mw_config *c, const char *name, int64_t fallback);
int mw_config_bool(mw_config *c, const char *name, int fallback);
/* The n-th text (from 0) of a text or a list of texts; NULL past the end. */
const char *mw_config_item(mw_config *c, const char *name, size_t n);
/* The n-th pair (from 0) of a map; 0 past the end. */
int mw_config_pair(mw_config *c, const char *name, size_t n, const char **key, const char **value);

#endif
