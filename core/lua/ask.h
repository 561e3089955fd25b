/* ask.h: commands for stores, and their answers, for Lua. C and not Lua because what stands around
 * a wait is not compiled, and there each call through the FFI costs as much as all of this. Thread:
 * the state's. */
#ifndef MW_ASK_H
#define MW_ASK_H

#include "lua/view.h"

#include <lua.h>

/* Registers, in the table at the top of the stack:
 *
 * send(current, store, how, key, command, argument, …): the number of the question. `current` is
 * the coroutine that may wait: an error where it is called in another. `key` and arguments are
 * texts.
 *
 * reply(): the answer that the view has: text, number, nil, or a list of them; or nil and why there
 * is none. An error of Redis is no answer. */
void mw_ask_open(lua_State *L, mw_view *view);

#endif
