/* rows.h: the rows of a file that a flow looks things up in, for Lua. */
#ifndef MW_ROWS_H
#define MW_ROWS_H

struct lua_State;

/* Leaves rows(text, format) in the table on the top of the stack: a list of the events that the
 * text holds, as JSON, or nil and what is wrong with it. */
void mw_rows_open(struct lua_State *L);

#endif
