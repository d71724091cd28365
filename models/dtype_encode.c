/* dtype_encode.c: floats to the element types that weights are trained in. */
#include "models/dtype.h"

#include <string.h>

static inline uint32_t bits_of(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return u;
}

/* The half of ulp that is added makes carries do the rounding, into the exponent as well. */
static inline uint16_t bf16_of(float f)
{
    uint32_t u = bits_of(f);

    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static inline uint16_t f16_of(float f)
{
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000u;
    float half = 0.5F, magnitude;

    u &= 0x7fffffffu;
    if (u >= 0x47800000u) /* 65536 and more */
        return (uint16_t)(sign | (u > 0x7f800000u ? 0x7e00u : 0x7c00u));
    if (u >= 0x38800000u) /* 2^-14: a normal half */
        return (uint16_t)(sign | (u - (112u << 23) + 0xfff + (u >> 13 & 1)) >> 13);
    /* The addition rounds to multiples of 2^-24, the unit of subnormal halves. */
    memcpy(&magnitude, &u, sizeof magnitude);
    return (uint16_t)(sign | (bits_of(magnitude + half) - bits_of(half)));
}

bool dtype_encodable(enum dtype t)
{
    return t == DTYPE_F16 || t == DTYPE_BF16 || t == DTYPE_F32 || t == DTYPE_F64;
}

bool dtype_zero_is_bytes(enum dtype t)
{
    return dtype_encodable(t) || t == DTYPE_F8_E4M3 || t == DTYPE_F8_E5M2 ||
           t == DTYPE_F8_E4M3FNUZ || t == DTYPE_F8_E5M2FNUZ;
}

#define DEFINE_ENCODE(name, type, convert)                                                         \
    static void name(const float *restrict src, size_t count, uint8_t *restrict dst,               \
                     size_t stride)                                                                \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            type v = convert(src[i] == 0 ? 0 : src[i]);                                            \
                                                                                                   \
            memcpy(dst + i * stride * sizeof v, &v, sizeof v);                                     \
        }                                                                                          \
    }

DEFINE_ENCODE(encode_bf16, uint16_t, bf16_of)
DEFINE_ENCODE(encode_f16, uint16_t, f16_of)
DEFINE_ENCODE(encode_f32, float, )
DEFINE_ENCODE(encode_f64, double, (double))

void dtype_encode_f32(enum dtype t, const float *src, size_t count, void *dst, size_t stride)
{
    switch (t) {
    case DTYPE_BF16:
        encode_bf16(src, count, dst, stride);
        break;
    case DTYPE_F16:
        encode_f16(src, count, dst, stride);
        break;
    case DTYPE_F32:
        encode_f32(src, count, dst, stride);
        break;
    default:
        ASSERT(t == DTYPE_F64);
        encode_f64(src, count, dst, stride);
        break;
    }
}
