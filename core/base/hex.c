/* hex.c: see hex.h. */
#include "base/hex.h"

void mw_hex_write(mw_buffer *out, const char *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *to = mw_buffer_reserve(out, 2 * len + 1);
    for (size_t i = 0; i < len; i++) {
        *to++ = digits[(unsigned char)bytes[i] >> 4];
        *to++ = digits[bytes[i] & 15];
    }
    out->len += 2 * len;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mw_hex_read(mw_buffer *out, const char *digits, size_t len)
{
    char *to = mw_buffer_reserve(out, len / 2 + 1);
    for (size_t i = 0; i + 1 < len; i += 2) {
        int high = digit(digits[i]), low = digit(digits[i + 1]);
        if (high < 0 || low < 0) return 0;
        *to++ = (char)(high << 4 | low);
    }
    out->len += len / 2;
    return len % 2 == 0;
}
