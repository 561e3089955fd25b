/* digest.h: SHA-256 for Lua, plain or keyed (HMAC, RFC 2104), by OpenSSL. */
#ifndef MW_DIGEST_H
#define MW_DIGEST_H

struct lua_State;

/* Leaves digest(text [, key]) in the table on the top of the stack: 64 hexadecimal digits. */
void mw_digest_open(struct lua_State *L);

#endif
