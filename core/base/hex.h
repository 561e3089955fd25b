/* hex.h: bytes as hexadecimal digits, lower case, and back. Thread: any. */
#ifndef MW_HEX_H
#define MW_HEX_H

#include "base/buffer.h"

void mw_hex_write(mw_buffer *out, const char *bytes, size_t len);
/* Appends the bytes that the digits mean; 0: they are none. */
int mw_hex_read(mw_buffer *out, const char *digits, size_t len);

#endif
