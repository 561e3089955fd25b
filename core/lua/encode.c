/* encode.c: see encode.h. */
#include "lua/encode.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 100, KEYS_AT_FIRST = 16, NUMBER_BYTES = 32, CDATA = 10 };

/* Upvalues of both functions: the view, the table of what they know, and from it what is asked
 * often. */
enum { UP_VIEW = 1, UP_KNOWN, UP_NULL, UP_MARK };

typedef struct key {
    const char *text; /* of the table's own string, or of `number` */
    size_t len;
    lua_Number value; /* of a number */
    int is_number;
    char number[NUMBER_BYTES];
} key;

static void encode(lua_State *L, int index, mw_buffer *out, int depth);

static int by_bytes(const void *a, const void *b)
{
    const key *x = a, *y = b;
    size_t len = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->text, y->text, len);
    return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

static void read_key(lua_State *L, key *k)
{
    k->is_number = lua_type(L, -2) == LUA_TNUMBER;
    if (k->is_number) {
        k->value = lua_tonumber(L, -2);
        k->len = (size_t)snprintf(k->number, sizeof k->number, "%.14g", k->value);
    } else if (lua_type(L, -2) == LUA_TSTRING) {
        k->text = lua_tolstring(L, -2, &k->len);
    } else {
        luaL_error(L, "a %s cannot be the key of a JSON object", luaL_typename(L, -2));
    }
}

static void encode_sorted(lua_State *L, int table, key *keys, size_t count, mw_buffer *out,
                          int depth)
{
    for (size_t i = 0; i < count; i++)
        if (keys[i].is_number) keys[i].text = keys[i].number;
    if (count > 1) qsort(keys, count, sizeof *keys, by_bytes);
    mw_buffer_append(out, "{", 1);
    for (size_t i = 0; i < count; i++) {
        if (keys[i].is_number) lua_pushnumber(L, keys[i].value);
        else
            lua_pushlstring(L, keys[i].text, keys[i].len);
        if (i) mw_buffer_append(out, ",", 1);
        mw_json_quote(out, keys[i].is_number ? keys[i].number : keys[i].text, keys[i].len);
        mw_buffer_append(out, ":", 1);
        lua_rawget(L, table);
        encode(L, lua_gettop(L), out, depth + 1);
        lua_pop(L, 1);
    }
    mw_buffer_append(out, "}", 1);
}

/* Keys beyond a few are in a userdata, which the collector frees whatever happens. */
static void encode_object(lua_State *L, int table, size_t count, mw_buffer *out, int depth)
{
    key few[KEYS_AT_FIRST], *keys = few;
    size_t n = 0;
    if (count > KEYS_AT_FIRST) keys = lua_newuserdata(L, count * sizeof *keys);
    else
        lua_pushnil(L); /* in its place */
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) read_key(L, &keys[n++]);
    encode_sorted(L, table, keys, n, out, depth);
    lua_pop(L, 1);
}

static void encode_list(lua_State *L, int table, size_t count, mw_buffer *out, int depth)
{
    mw_buffer_append(out, "[", 1);
    for (size_t i = 1; i <= count; i++) {
        if (i > 1) mw_buffer_append(out, ",", 1);
        lua_rawgeti(L, table, (int)i);
        encode(L, lua_gettop(L), out, depth + 1);
        lua_pop(L, 1);
    }
    mw_buffer_append(out, "]", 1);
}

/* mw.null, an event or a part of one, what stands for a table (a window's result), or a marked
 * list: 1 when it is written. Else the metatable says nothing to us. */
static void encode_table(lua_State *L, int table, mw_buffer *out, int depth);

static int encode_special(lua_State *L, int table, mw_buffer *out, int depth, int *marked)
{
    *marked = 0;
    if (!lua_getmetatable(L, table)) return 0;
    *marked = lua_rawequal(L, -1, lua_upvalueindex(UP_MARK));
    lua_pop(L, 1);
    if (*marked) return 0;
    if (lua_rawequal(L, table, lua_upvalueindex(UP_NULL))) {
        mw_buffer_append(out, "null", 4);
        return 1;
    }
    lua_getfield(L, lua_upvalueindex(UP_KNOWN), "view_text");
    lua_pushvalue(L, table);
    lua_call(L, 1, 1);
    size_t len;
    int special = lua_isstring(L, -1) || lua_istable(L, -1);
    if (lua_istable(L, -1)) encode_table(L, lua_gettop(L), out, depth + 1);
    else if (special) {
        const char *text = lua_tolstring(L, -1, &len);
        mw_buffer_append(out, text, len);
    }
    lua_pop(L, 1);
    return special;
}

static void encode_table(lua_State *L, int table, mw_buffer *out, int depth)
{
    int marked;
    size_t count = 0;
    if (depth > DEPTH_MAX)
        luaL_error(L, "a table nested deeper than %d (or that holds itself) cannot be JSON",
                   DEPTH_MAX);
    luaL_checkstack(L, 8, "a table nested too deep cannot be JSON");
    if (encode_special(L, table, out, depth, &marked)) return;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) count++;
    size_t length = lua_objlen(L, table);
    if (count == length && (count > 0 || marked)) encode_list(L, table, count, out, depth);
    else
        encode_object(L, table, count, out, depth);
}

/* A 64-bit integer prints as "123LL" or "123ULL". */
static void encode_cdata(lua_State *L, int index, mw_buffer *out)
{
    lua_getglobal(L, "tostring");
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    const char *text = lua_tostring(L, -1);
    size_t digits = strspn(text, "-0123456789");
    if (digits == 0 || (strcmp(text + digits, "LL") != 0 && strcmp(text + digits, "ULL") != 0))
        luaL_error(L, "a cdata that is no integer cannot be JSON");
    mw_buffer_append(out, text, digits);
    lua_pop(L, 1);
}

static void encode(lua_State *L, int index, mw_buffer *out, int depth)
{
    size_t len;
    const char *text;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        mw_json_quote(out, text, len);
        break;
    case LUA_TNUMBER:
        mw_json_number(out, lua_tonumber(L, index));
        break;
    case LUA_TBOOLEAN:
        mw_buffer_text(out, lua_toboolean(L, index) ? "true" : "false");
        break;
    case LUA_TNIL:
        mw_buffer_append(out, "null", 4);
        break;
    case LUA_TTABLE:
        encode_table(L, index, out, depth);
        break;
    case CDATA:
        encode_cdata(L, index, out);
        break;
    default:
        luaL_error(L, "a %s cannot be JSON", luaL_typename(L, index));
    }
}

static mw_buffer *encode_argument(lua_State *L)
{
    mw_view *v = lua_touserdata(L, lua_upvalueindex(UP_VIEW));
    lua_settop(L, 1);
    v->json.len = 0;
    encode(L, 1, &v->json, 1);
    return &v->json;
}

static int lua_encode(lua_State *L)
{
    mw_view *v = lua_touserdata(L, lua_upvalueindex(UP_VIEW));
    mw_buffer *json = encode_argument(L), swap = v->out; /* view_text may have used `out` */
    v->out = *json, *json = swap;
    return 0;
}

static int lua_encode_text(lua_State *L)
{
    mw_buffer *json = encode_argument(L);
    lua_pushlstring(L, json->bytes, json->len);
    return 1;
}

void mw_encode_open(lua_State *L, mw_view *view)
{
    static const char *const names[] = {"encode", "encode_text"};
    static const lua_CFunction functions[] = {lua_encode, lua_encode_text};
    for (int i = 0; i < 2; i++) {
        lua_pushlightuserdata(L, view);
        lua_pushvalue(L, -2);
        lua_getfield(L, -3, "null");
        lua_getfield(L, -4, "array_mark");
        lua_pushcclosure(L, functions[i], 4);
        lua_setfield(L, -2, names[i]);
    }
}
