/* fuzz_budget.c: source text with a budget put in. What compiles as it is compiles with it, too, to
 * as many lines; and no text is changed but for what is put in. */
#include "lua/budget.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check(int good)
{
    if (!good) __builtin_trap();
}

static size_t lines(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += text[i] == '\n';
    return n;
}

/* Every byte of the text is in the new one, in order. */
static void check_kept(const char *text, size_t len, const mw_buffer *out)
{
    size_t at = 0;
    if (len && text[0] == '#') /* the first line of a script is left out */
        while (at < len && text[at] != '\n') at++;
    for (size_t i = 0; i < out->len && at < len; i++) at += out->bytes[i] == text[at];
    check(at == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    const char *text = (const char *)data;
    mw_buffer out = {0};
    mw_error error;
    if (!L) L = luaL_newstate();
    if (size > 4096 || (size && text[0] == 27)) return 0;
    int compiles = luaL_loadbuffer(L, text, size, "=text") == 0;
    if (mw_budget_rewrite(text, size, &out, &error) == MW_OK) {
        check_kept(text, size, &out);
        check(lines(out.bytes, out.len) == lines(text, size) + 1);
        int still = luaL_loadbuffer(L, out.bytes, out.len, "=budget") == 0;
        /* a text at a limit of the compiler may not have room for more */
        if (compiles && !still)
            check(strstr(lua_tostring(L, -1), "too many") ||
                  strstr(lua_tostring(L, -1), "more than") ||
                  strstr(lua_tostring(L, -1), "overflow"));
    }
    lua_settop(L, 0);
    mw_buffer_close(&out);
    return 0;
}
