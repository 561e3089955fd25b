/* json_hash.c: keys: the hash of a value. See json.h. */
#include "base/hash.h"
#include "event/json.h"

uint64_t mw_json_hash(const mw_value *v)
{
    if (v->kind == MW_STRING) return mw_hash(v->text, v->len);
    if (v->kind == MW_ABSENT) return 0;
    if (v->kind == MW_NUMBER) {
        double number = v->number + 0.0; /* zero is one number, whatever its sign */
        return mw_hash(&number, sizeof number);
    }
    if (v->kind == MW_TRUE || v->kind == MW_FALSE) return v->kind;
    if (v->kind != MW_ESCAPED) {
        size_t len = v->len;
        if (v->kind == MW_OBJECT) len = mw_json_value(v->text, v->len).len;
        return mw_hash(v->text, len);
    }
    mw_buffer plain = {0};
    mw_json_unescape(&plain, v->text, v->len);
    uint64_t h = mw_hash(plain.bytes ? plain.bytes : "", plain.len);
    mw_buffer_close(&plain);
    return h;
}
