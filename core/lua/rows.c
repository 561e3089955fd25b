/* rows.c: see rows.h. */
#include "lua/rows.h"
#include "event/batch.h"
#include "event/format.h"
#include "event/json.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

static void push_rows(lua_State *L, const mw_batch *b)
{
    lua_createtable(L, (int)b->count, 0);
    for (uint32_t i = 0; i < b->count; i++) {
        lua_pushlstring(L, b->events[i].text, b->events[i].len);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static int rows(lua_State *L)
{
    size_t len, whole = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    const mw_format *format = mw_format_find(luaL_checkstring(L, 2));
    mw_stream stream;
    mw_error error = {0};
    if (!format) return luaL_error(L, "there is no such format");
    mw_config *config = mw_config_new("{}", 2);
    mw_batch *b = mw_batch_new(len + 1);
    mw_stream_init(&stream, format, config, len + 1);
    if (len) memcpy(b->block, text, len);
    memset(b->block + len, 0, MW_JSON_PADDING);
    b->len = len, b->stream = &stream, b->first = 1;
    int good = format->boundary(&stream, b->block, len, 1, &whole, &error) == MW_OK;
    if (good) {
        b->len = whole;
        format->split(b);
        push_rows(L, b);
    } else {
        lua_pushnil(L);
        lua_pushstring(L, error.message);
    }
    mw_batch_free(b);
    mw_stream_close(&stream);
    mw_config_free(config);
    return good ? 1 : 2;
}

void mw_rows_open(lua_State *L)
{
    lua_pushcfunction(L, rows);
    lua_setfield(L, -2, "rows");
}
