/* detector.c: see detector.h. */
#include "lua/detector.h"

#include "score/detector.h"

#include <lauxlib.h>

static int release(lua_State *L)
{
    mw_detector **own = lua_touserdata(L, 1);
    mw_detector_free(*own);
    *own = NULL;
    return 0;
}

static int detector(lua_State *L)
{
    size_t len;
    const char *kind = luaL_checkstring(L, 1), *json = luaL_checklstring(L, 2, &len);
    mw_error error;
    mw_detector **own = lua_newuserdata(L, sizeof *own);
    *own = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, release);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    mw_config *config = mw_config_new(json, len);
    mw_status status = mw_detector_new(own, kind, config, &error);
    mw_config_free(config);
    if (status != MW_OK) {
        lua_pushnil(L);
        lua_pushstring(L, error.message);
        return 2;
    }
    lua_pushlightuserdata(L, *own);
    lua_pushnumber(L, (lua_Number)mw_detector_bytes(*own));
    return 3;
}

void mw_detector_open(lua_State *L)
{
    lua_pushcfunction(L, detector);
    lua_setfield(L, -2, "detector");
}
