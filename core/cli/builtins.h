/* builtins.h: the one table that knows all kinds that are linked in. */
#ifndef MW_BUILTINS_H
#define MW_BUILTINS_H

#include "flow/graph.h"

extern const mw_kinds mw_builtins;

#endif
