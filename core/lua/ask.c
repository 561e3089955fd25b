/* ask.c: see ask.h. */
#include "lua/ask.h"
#include "base/resp.h"
#include "event/value.h"
#include "lua/park.h"

#include <lauxlib.h>

static mw_view *view_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int send_question(lua_State *L)
{
    enum { CURRENT = 1, STORE, HOW, KEY, FIRST };
    mw_view *v = view_of(L);
    int top = lua_gettop(L);
    size_t len;
    if (lua_tothread(L, CURRENT) != L) /* nothing is asked that nobody waits for */
        return luaL_error(L,
                          "this waits for an answer, which a coroutine of the rule's own cannot");
    mw_resp_begin(&v->command, (uint32_t)(top - FIRST + 1));
    for (int i = FIRST; i <= top; i++) {
        const char *text = luaL_checklstring(L, i, &len);
        mw_resp_argument(&v->command, text, len);
    }
    const char *key = luaL_checklstring(L, KEY, &len);
    lua_pushnumber(
        L, mw_view_ask(v, (uint32_t)lua_tointeger(L, STORE), key, len, (int)lua_tointeger(L, HOW)));
    return 1;
}

/* Pushes the value at *at and moves it behind; 0: it is an error, whose text is pushed. */
static int push(lua_State *L, const mw_view *v, uint32_t *at)
{
    const mw_value *value = &v->reply[(*at)++];
    if (value->kind == MW_STRING || value->kind == MW_ESCAPED) {
        lua_pushlstring(L, value->text, value->len);
        return value->kind == MW_STRING;
    }
    if (value->kind == MW_NUMBER) lua_pushnumber(L, value->number);
    else if (value->kind != MW_ARRAY)
        lua_pushnil(L);
    else {
        int count = (int)value->number;
        luaL_checkstack(L, 3, "a reply of Redis is nested too deeply");
        lua_createtable(L, count, 0);
        for (int i = 1; i <= count; i++) {
            push(L, v, at);
            lua_rawseti(L, -2, i);
        }
    }
    return 1;
}

static int reply(lua_State *L)
{
    mw_view *v = view_of(L);
    uint32_t at = 0;
    if (!v->reply_count) {
        lua_pushnil(L);
        lua_pushstring(L, v->reply_error);
        return 2;
    }
    if (push(L, v, &at)) return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

void mw_ask_open(lua_State *L, mw_view *view)
{
    static const struct {
        const char *name;
        lua_CFunction call;
    } functions[] = {{"send", send_question}, {"reply", reply}};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        lua_pushlightuserdata(L, view);
        lua_pushcclosure(L, functions[i].call, 1);
        lua_setfield(L, -2, functions[i].name);
    }
}
