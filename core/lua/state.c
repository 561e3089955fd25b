/* state.c: see state.h. */
#include "lua/ask.h"
#include "lua/detector.h"
#include "lua/digest.h"
#include "lua/state.h"
#include "lua/budget.h"
#include "lua/embedded.h"
#include "lua/encode.h"
#include "lua/model.h"
#include "lua/rows.h"

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

enum { MEMORY_AT_FIRST = 64 << 20 };

struct mw_lua {
    lua_State *L;
    mw_view *view;
    int drivers; /* reference: by chain, then two a stage: for many rows and for one */
    int keyers;
    int resume;         /* reference: runtime.resume */
    lua_Alloc allocate; /* LuaJIT's own, which is fast; ours counts */
    void *allocator;
    size_t bytes, limit, kept; /* kept: what was left by the last collection we asked for */
    int starved;               /* the limit was met */
};

static void *allocate(void *self, void *block, size_t old, size_t new)
{
    mw_lua *l = self;
    if (new > old && l->bytes + (new - old) > l->limit) {
        l->starved = 1;
        return NULL;
    }
    void *got = l->allocate(l->allocator, block, old, new);
    if (got || new == 0) l->bytes += new - old;
    return got;
}

static int set_memory(lua_State *L)
{
    mw_lua *l = lua_touserdata(L, lua_upvalueindex(1));
    l->limit = (size_t)luaL_checknumber(L, 1);
    return 0;
}

/* A loader for `require`: modules of the runtime, from disk where asked, embedded otherwise. */
static int load_module(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *folder = getenv("MOONWEIR_SCRIPTS");
    if (folder) {
        char path[1024];
        const char *file = strncmp(name, "moonweir.", 9) == 0 ? name + 9 : name;
        snprintf(path, sizeof path, "%s/moonweir/%s.lua", folder, file);
        if (access(path, R_OK) == 0) {
            if (luaL_loadfile(L, path) == 0) return 1;
            return lua_error(L);
        }
    }
    for (const mw_embedded *e = mw_embedded_modules; e->name; e++)
        if (strcmp(e->name, name) == 0) {
            if (luaL_loadbuffer(L, e->bytes, e->len, name) != 0) return lua_error(L);
            return 1;
        }
    return 0;
}

static void open_runtime(mw_lua *l)
{
    lua_State *L = l->L;
    mw_view *view = l->view;
    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    for (int i = (int)lua_objlen(L, -1); i >= 2;
         i--) { /* behind package.preload, before the path's */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, load_module);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
    lua_getglobal(L, "require");
    lua_pushstring(L, "moonweir.core");
    lua_call(L, 1, 1);
    lua_pushlightuserdata(L, view);
    lua_setfield(L, -2, "view_address");
    lua_pushlightuserdata(L, l);
    lua_pushcclosure(L, set_memory, 1);
    lua_setfield(L, -2, "set_memory");
    lua_pop(L, 1);
    lua_getglobal(L, "require");
    lua_pushstring(L, "moonweir.encode");
    lua_call(L, 1, 1);
    mw_encode_open(L, view);
    lua_pop(L, 1);
    lua_getglobal(L, "require");
    lua_pushstring(L, "moonweir.park");
    lua_call(L, 1, 1);
    mw_ask_open(L, view);
    lua_pop(L, 1);
}

mw_lua *mw_lua_new(mw_view *view)
{
    mw_lua *l = calloc(1, sizeof *l);
    mw_assert(l != NULL);
    l->view = view;
    l->L = luaL_newstate();
    mw_assert(l->L != NULL);
    l->bytes = (size_t)lua_gc(l->L, LUA_GCCOUNT, 0) * 1024;
    l->limit = MEMORY_AT_FIRST;
    l->allocate = lua_getallocf(l->L, &l->allocator);
    lua_setallocf(l->L, allocate, l);
    open_runtime(l);
    l->drivers = l->keyers = l->resume = LUA_NOREF;
    return l;
}

void mw_lua_free(mw_lua *l)
{
    if (!l) return;
    lua_setallocf(l->L, l->allocate, l->allocator); /* by which LuaJIT knows to free its arena */
    lua_close(l->L);
    free(l);
}

/* runtime[name] on the stack. */
static void push_runtime(lua_State *L, const char *name)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, "moonweir.runtime");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

static void push_environment(lua_State *L)
{
    lua_newtable(L);
    for (char **e = environ; *e; e++) {
        const char *equals = strchr(*e, '=');
        if (!equals) continue;
        lua_pushlstring(L, *e, (size_t)(equals - *e));
        lua_pushstring(L, equals + 1);
        lua_rawset(L, -3);
    }
}

static mw_status fail_with_top(mw_lua *l, mw_error *error)
{
    lua_State *L = l->L;
    const char *text = lua_tostring(L, -1);
    if (l->starved)
        text = "the flow needs more memory than it may have (mw.flow { memory = ... } is the limit "
               "of each shard)";
    mw_fail(error, MW_CONFIG, "%s", text ? text : "the flow raised an error that is no text");
    lua_pop(L, 1);
    return MW_CONFIG;
}

/* read_file(path): its text, or nil and why not */
static int read_file(lua_State *L)
{
    mw_files *files = lua_touserdata(L, lua_upvalueindex(1));
    const mw_file *file = mw_files_get(files, luaL_checkstring(L, 1));
    if (file->text) {
        lua_pushlstring(L, file->text, file->len);
        return 1;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", file->path, file->why);
    return 2;
}

/* add_budget(text, path): the text with a budget, or nil and what is wrong */
static int add_budget(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    mw_buffer out = {0};
    mw_error error;
    if (mw_budget_rewrite(text, len, &out, &error) == MW_OK) {
        lua_pushlstring(L, out.bytes, out.len);
        lua_pushnil(L);
    } else {
        lua_pushnil(L);
        lua_pushfstring(L, "%s:%s", luaL_checkstring(L, 2), error.message);
    }
    mw_buffer_close(&out);
    return 2;
}

/* read_module(name): the text of a module that flows may require; nil: there is none */
static int read_module(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    for (const mw_embedded *e = mw_embedded_modules; e->name; e++)
        if (strncmp(e->name, "module:", 7) == 0 && strcmp(e->name + 7, name) == 0) {
            lua_pushlstring(L, e->bytes, e->len);
            return 1;
        }
    return 0;
}

static void push_host(lua_State *L, mw_files *files)
{
    lua_createtable(L, 0, 2);
    lua_pushlightuserdata(L, files);
    lua_pushcclosure(L, read_file, 1);
    lua_setfield(L, -2, "read_file");
    lua_pushcfunction(L, add_budget);
    lua_setfield(L, -2, "add_budget");
    lua_pushcfunction(L, read_module);
    lua_setfield(L, -2, "read_module");
    mw_rows_open(L);
    mw_digest_open(L);
    mw_model_open(L, files);
    mw_detector_open(L);
}

mw_status mw_lua_load(mw_lua *l, const char *path, const char *kinds, mw_files *files,
                      const char **graph, size_t *len, mw_error *error)
{
    lua_State *L = l->L;
    push_runtime(L, "load");
    lua_pushstring(L, path);
    lua_pushstring(L, kinds);
    push_environment(L);
    lua_pushstring(L, MW_VERSION);
    push_host(L, files);
    if (lua_pcall(L, 5, 1, 0) != 0) return fail_with_top(l, error);
    *graph = lua_tolstring(L, -1, len);
    luaL_ref(L, LUA_REGISTRYINDEX); /* keeps the text */
    return MW_OK;
}

/* How is the name of what makes the drivers. */
static mw_status make_drivers(mw_lua *l, const char *how, mw_error *error)
{
    lua_State *L = l->L;
    luaL_unref(L, LUA_REGISTRYINDEX, l->drivers);
    luaL_unref(L, LUA_REGISTRYINDEX, l->keyers);
    l->drivers = l->keyers = LUA_NOREF;
    push_runtime(L, how);
    if (lua_pcall(L, 0, 1, 0) != 0) return fail_with_top(l, error);
    l->drivers = luaL_ref(L, LUA_REGISTRYINDEX);
    push_runtime(L, "keyers");
    if (lua_pcall(L, 0, 1, 0) != 0) return fail_with_top(l, error);
    l->keyers = luaL_ref(L, LUA_REGISTRYINDEX);
    return MW_OK;
}

mw_status mw_lua_build(mw_lua *l, mw_error *error)
{
    mw_status status = make_drivers(l, "build", error);
    if (status == MW_OK) lua_gc(l->L, LUA_GCCOLLECT, 0);
    return status;
}

mw_status mw_lua_again(mw_lua *l, mw_error *error)
{
    return make_drivers(l, "again", error);
}

static void push_function(mw_lua *l, int list, uint32_t chain, uint32_t stage)
{
    lua_rawgeti(l->L, LUA_REGISTRYINDEX, list);
    lua_rawgeti(l->L, -1, (int)chain + 1);
    lua_rawgeti(l->L, -1, (int)stage + 1);
    lua_replace(l->L, -3);
    lua_pop(l->L, 1);
}

/* What is garbage goes before the limit is met: the collector's own pace knows of no limit. */
static void keep_memory(mw_lua *l)
{
    if (!l->starved && (l->bytes < l->limit / 4 * 3 || l->bytes < l->kept + l->limit / 16)) return;
    l->starved = 0;
    lua_gc(l->L, LUA_GCCOLLECT, 0);
    l->kept = l->bytes;
}

/* A driver contains what its rules do. What is left is memory that cannot be had in the driver
 * itself: the row it was at becomes a dead letter, and it goes on behind it. */
static void run_contained(mw_lua *l, int list, uint32_t chain, uint32_t stage)
{
    lua_State *L = l->L;
    mw_view *v = l->view;
    while (v->row < v->given) {
        push_function(l, list, chain, stage);
        if (lua_pcall(L, 0, 0, 0) == 0) return;
        const char *why = lua_tostring(L, -1);
        if (!why || l->starved) why = "the rule ran out of memory";
        uint32_t row = v->row, mark = v->send_count;
        while (mark > 0 && v->sends[mark - 1].row == row) mark--;
        mw_view_fail(v, row, v->rule, mark, why, strlen(why));
        lua_pop(L, 1);
        v->row = row < v->given ? row + 1 : v->given;
        keep_memory(l);
    }
}

void mw_lua_run(mw_lua *l, uint32_t chain, uint32_t stage)
{
    keep_memory(l);
    run_contained(l, l->drivers, chain, stage * 2 + (l->view->given == 1));
}

void mw_lua_resume(mw_lua *l, uint32_t question)
{
    lua_State *L = l->L;
    mw_view *v = l->view;
    keep_memory(l);
    if (l->resume == LUA_NOREF) {
        push_runtime(L, "resume");
        l->resume = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, l->resume);
    lua_pushinteger(L, (lua_Integer)question);
    if (lua_pcall(L, 1, 0, 0) == 0) return;
    const char *why = lua_tostring(L, -1);
    if (!why || l->starved) why = "the rule ran out of memory";
    mw_view_fail(v, v->row, v->rule, v->first, why, strlen(why));
    lua_pop(L, 1);
}

void mw_lua_key(mw_lua *l, uint32_t chain, uint32_t stage)
{
    mw_view_reserve_hashes(l->view);
    run_contained(l, l->keyers, chain, stage);
    l->view->row = 0;
}

size_t mw_lua_bytes(mw_lua *l)
{
    return l->bytes;
}

void *mw_lua_raw(mw_lua *l)
{
    return l->L;
}
