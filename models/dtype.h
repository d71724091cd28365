/* dtype.h: element types of stored tensors, and decoding them to floating point. */
#ifndef SPECTRALD_DTYPE_H
#define SPECTRALD_DTYPE_H

#include "common/base.h"

/* Append-only: the numbers are part of content digests. Names are those of safetensors. */
enum dtype {
    DTYPE_BOOL = 0,
    DTYPE_U8,
    DTYPE_I8,
    DTYPE_F8_E5M2,
    DTYPE_F8_E4M3,
    DTYPE_F8_E8M0,
    DTYPE_F8_E4M3FNUZ,
    DTYPE_F8_E5M2FNUZ,
    DTYPE_I16,
    DTYPE_U16,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_I32,
    DTYPE_U32,
    DTYPE_F32,
    DTYPE_F64,
    DTYPE_I64,
    DTYPE_U64,
    DTYPE_C64,
    DTYPE_F4,
    DTYPE_F6_E2M3,
    DTYPE_F6_E3M2,
    DTYPE_COUNT
};

const char *dtype_name(enum dtype t);              /* "BF16"; NULL for an unknown value */
int dtype_from_name(const char *name, size_t len); /* the dtype, or -1 */
unsigned dtype_bits(enum dtype t);

/* True when elements decode to real numbers here (everything but C64, F4, F6, BOOL). */
bool dtype_decodable(enum dtype t);
/* True for the integer types: decodable, but usually codes of a quantisation, not weights. */
bool dtype_is_integer(enum dtype t);

/* Decode `count` elements, element i at src + i * stride * (bits/8), to dst[i]. `src` needs no
 * alignment. Returns how many of them are NaN or infinite (they are written as such). Little-
 * endian input. `t` must be decodable. 64-bit integers round to the nearest double. */
size_t dtype_decode_f64(enum dtype t, const void *src, size_t count, size_t stride, double *dst);
size_t dtype_decode_f32(enum dtype t, const void *src, size_t count, size_t stride, float *dst);

/* True for F16, BF16, F32 and F64: what dtype_encode_f32() writes. */
bool dtype_encodable(enum dtype t);
/* Write `count` floats as elements of t, element i at dst + i * stride * (bits/8), rounded to
 * nearest, ties to even; too large ones become infinite, NaNs stay NaN. Zeros are written as +0. */
void dtype_encode_f32(enum dtype t, const float *src, size_t count, void *dst, size_t stride);

/* True when an element whose bytes are all 0 is the number 0, and elements are whole bytes: then
 * weights can be set to zero without knowing more of them. False for integers: codes. */
bool dtype_zero_is_bytes(enum dtype t);

#endif
