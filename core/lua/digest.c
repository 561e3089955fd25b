/* digest.c: see digest.h. */
#include "lua/digest.h"

#include <lauxlib.h>
#include <lua.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static int digest(lua_State *L)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE];
    unsigned len = 0;
    size_t text_len, key_len;
    const char *from = luaL_checklstring(L, 1, &text_len);
    const char *key = luaL_optlstring(L, 2, NULL, &key_len);
    int good = key ? HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)from, text_len,
                          bytes, &len) != NULL
                   : EVP_Digest(from, text_len, bytes, &len, EVP_sha256(), NULL);
    if (!good) return luaL_error(L, "SHA-256 is not to be had of this system's OpenSSL");
    for (unsigned i = 0; i < len; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    lua_pushlstring(L, text, 2 * len);
    return 1;
}

void mw_digest_open(lua_State *L)
{
    lua_pushcfunction(L, digest);
    lua_setfield(L, -2, "digest");
}
