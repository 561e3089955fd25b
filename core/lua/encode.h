/* encode.h: Lua values into JSON.
 *
 * Strings, numbers, booleans, nil, mw.null, 64-bit integers and tables; a table whose keys are 1..n
 * is a list, any other an object with its keys in order of their bytes, so that the same decision
 * is always the same bytes. It is C and not Lua because rules that answer single events are too
 * short to be compiled around such a loop. Thread: the state's. */
#ifndef MW_ENCODE_H
#define MW_ENCODE_H

#include "lua/view.h"

#include <lua.h>

/* Registers, in the table at the top of the stack: encode(v), which leaves the JSON in view->out,
 * and encode_text(v), which returns it. What they have to know is set in the same table before they
 * are used: null, array_mark (metatables), and view_text(t), the JSON of an event or a part of one,
 * or nil when t is neither. */
void mw_encode_open(lua_State *L, mw_view *view);

#endif
