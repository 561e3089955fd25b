/* state.h: a Lua state with a flow in it. Its memory is limited (`memory` of mw.flow), and what its
 * rules may take of the processor (budget.h).
 *
 * Every shard has one, and `check`, `run` and `test` have one to learn what a flow declares. The
 * runtime (scripts/moonweir) is embedded in the program as bytecode; the folder named by
 * MOONWEIR_SCRIPTS, where set, takes its place file by file. Thread: the one that opened it. */
#ifndef MW_STATE_H
#define MW_STATE_H

#include "base/status.h"
#include "lua/files.h"
#include "lua/view.h"

typedef struct mw_lua mw_lua;

/* A fresh state over `view`, which must outlive it. */
mw_lua *mw_lua_new(mw_view *view);
void mw_lua_free(mw_lua *l);
/* Loads the flow, out of `files` as far as they were read before. `kinds` is the JSON of
 * mw_kinds_json. MW_CONFIG with "file:line: message" where it is wrong: that it takes too long or
 * too much memory, too. On success *graph is the flow's graph as JSON, which lives as long as the
 * state. */
mw_status mw_lua_load(mw_lua *l, const char *path, const char *kinds, mw_files *files,
                      const char **graph, size_t *len, mw_error *error);
/* Makes the drivers of the loaded flow. */
mw_status mw_lua_build(mw_lua *l, mw_error *error);
/* Loads the flow once more in the same state: nothing that its rules kept is left. */
mw_status mw_lua_again(mw_lua *l, mw_error *error);
/* Runs the rules of a chain's stage over the view's rows. What rules do wrong is in the journal as
 * dead letters. */
void mw_lua_run(mw_lua *l, uint32_t chain, uint32_t stage);
/* Fills view->hashes for a stage whose `by` is a function. */
/* The rule that waited for the answer to a question goes on with it. */
void mw_lua_resume(mw_lua *l, uint32_t question);
void mw_lua_key(mw_lua *l, uint32_t chain, uint32_t stage);
size_t mw_lua_bytes(mw_lua *l);
/* The lua_State, for the test command. */
void *mw_lua_raw(mw_lua *l);

#endif
