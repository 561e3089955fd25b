/* budget.h: puts a budget into the Lua source of a flow, so that no loop and no recursion in it
 * runs for ever.
 *
 * LuaJIT's hooks do not fire in compiled code, so the count is in the code itself: behind the `do`
 * of a loop, behind `repeat`, before `goto`, and at the start of each function that calls another a
 * check is put in, on the same line, so that line numbers hold. It counts a number down and calls
 * `over` below zero (see scripts/moonweir/budget.lua). The text must be Lua that compiles; names
 * that begin with `__mw_` are refused. Any thread. */
#ifndef MW_BUDGET_H
#define MW_BUDGET_H

#include "base/buffer.h"
#include "base/status.h"

/* Appends a chunk that returns a function of the budget, which returns the flow's function.
 * MW_CONFIG, with "line: message" in the error, where a reserved name is used. */
mw_status mw_budget_rewrite(const char *text, size_t len, mw_buffer *out, mw_error *error);

/* Seconds of processor time that the calling thread has used: what a rule is measured by, so that a
 * busy machine is not its fault. Called from Lua. */
double mw_budget_clock(void);

#endif
