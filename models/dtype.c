/* dtype.c: see dtype.h.
 *
 * Every decoder is a branch-free loop over a small contiguous block, so that the compiler can
 * vectorise it; strided input is gathered into such a block first. Non-finite results are counted
 * in the same pass, in 32-bit lanes: a block is short enough that they cannot overflow.
 */
#include "models/dtype.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are loaded as stored");

#define BLOCK 4096

static inline float f32_of_bits(uint32_t u)
{
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint32_t bits_of_f32(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return u;
}

#define F32_INF 0x7f800000u
#define F32_NAN 0x7fc00000u

/* `a` where the condition holds, else `b`; masks, because compilers will not turn a conditional
 * around a floating-point operation into a selection of lanes. */
static inline uint32_t choose(bool condition, uint32_t a, uint32_t b)
{
    uint32_t mask = -(uint32_t)condition;

    return (a & mask) | (b & ~mask);
}

/* Float bits of the magnitude of a small binary float with `m` mantissa bits and the given
 * exponent bias, for codes without special meaning. Moving the code under a float's exponent is
 * exact for normal numbers; subnormal ones get an implicit one by the larger offset, which the
 * subtraction takes away. That keeps subnormal floats out of the arithmetic: on some processors
 * they cost 100 cycles. */
static inline uint32_t small_magnitude(uint32_t code, unsigned m, unsigned bias)
{
    uint32_t shifted = code << (23 - m);
    uint32_t one = (128 - bias) << 23;
    float subnormal = f32_of_bits(shifted + one) - f32_of_bits(one);

    return choose(code < 1u << m, bits_of_f32(subnormal), shifted + ((127 - bias) << 23));
}

/* An IEEE half whose low mantissa bits may have been cut off: `m` are left. */
static inline float value_ieee(uint32_t code, unsigned m, uint32_t sign)
{
    uint32_t special = F32_INF | code << (23 - m);
    uint32_t v = choose(code >= 31u << m, special, small_magnitude(code, m, 15));

    return f32_of_bits(v | sign);
}

static inline float value_f16(uint16_t h)
{
    return value_ieee(h & 0x7fffu, 10, (h & 0x8000u) << 16);
}

static inline float value_bf16(uint16_t h)
{
    return f32_of_bits((uint32_t)h << 16);
}

static inline float value_f32(float x)
{
    return x;
}

static inline float value_f8_e5m2(uint8_t b)
{
    return value_ieee(b & 0x7fu, 2, (b & 0x80u) << 24);
}

static inline float value_f8_e4m3(uint8_t b)
{
    uint32_t code = b & 0x7fu;
    uint32_t v = choose(code == 0x7fu, F32_NAN, small_magnitude(code, 3, 7));

    return f32_of_bits(v | (b & 0x80u) << 24);
}

static inline float value_f8_e8m0(uint8_t b)
{
    uint32_t v = choose(b == 0, 0x00400000u, (uint32_t)b << 23); /* 2^-127 is subnormal */

    return f32_of_bits(choose(b == 0xff, F32_NAN, v));
}

/* The FNUZ formats have one zero; its negative is their only NaN. */
static inline float value_f8_fnuz(uint8_t b, unsigned m, unsigned bias)
{
    uint32_t v = small_magnitude(b & 0x7fu, m, bias) | (b & 0x80u) << 24;

    return f32_of_bits(choose(b == 0x80u, F32_NAN, v));
}

static inline float value_f8_e4m3fnuz(uint8_t b)
{
    return value_f8_fnuz(b, 3, 8);
}

static inline float value_f8_e5m2fnuz(uint8_t b)
{
    return value_f8_fnuz(b, 2, 16);
}

static inline bool nonfinite_f32(float v)
{
    return (bits_of_f32(v) & F32_INF) == F32_INF;
}

/* Adding one to an exponent of all ones carries out of it. SSE2 has no 64-bit comparison. */
static inline uint64_t nonfinite_f64(double v)
{
    uint64_t u;

    memcpy(&u, &v, sizeof u);
    return ((u >> 52 & 0x7ff) + 1) >> 11;
}

/* decode_<name>_{f64,f32}: `count` <= BLOCK packed elements of C type `raw`, read with memcpy
 * because they may be unaligned, given a value by `value`. All pass through float. */
#define DEFINE_VIA_FLOAT(name, raw, value)                                                         \
    static size_t decode_##name##_f64(const uint8_t *src, size_t count, void *dst)                 \
    {                                                                                              \
        double *restrict out = dst;                                                                \
        uint32_t bad = 0;                                                                          \
                                                                                                   \
        for (size_t i = 0; i < count; i++) {                                                       \
            raw x;                                                                                 \
                                                                                                   \
            memcpy(&x, src + i * sizeof x, sizeof x);                                              \
            float v = value(x);                                                                    \
            bad += nonfinite_f32(v);                                                               \
            out[i] = (double)v;                                                                    \
        }                                                                                          \
        return bad;                                                                                \
    }                                                                                              \
    static size_t decode_##name##_f32(const uint8_t *src, size_t count, void *dst)                 \
    {                                                                                              \
        float *restrict out = dst;                                                                 \
        uint32_t bad = 0;                                                                          \
                                                                                                   \
        for (size_t i = 0; i < count; i++) {                                                       \
            raw x;                                                                                 \
                                                                                                   \
            memcpy(&x, src + i * sizeof x, sizeof x);                                              \
            out[i] = value(x);                                                                     \
            bad += nonfinite_f32(out[i]);                                                          \
        }                                                                                          \
        return bad;                                                                                \
    }

/* The same for integers: the result is always finite. */
#define DEFINE_INTEGER_TO(fn, raw, real)                                                           \
    static size_t fn(const uint8_t *src, size_t count, void *dst)                                  \
    {                                                                                              \
        real *restrict out = dst;                                                                  \
                                                                                                   \
        for (size_t i = 0; i < count; i++) {                                                       \
            raw x;                                                                                 \
                                                                                                   \
            memcpy(&x, src + i * sizeof x, sizeof x);                                              \
            out[i] = (real)x;                                                                      \
        }                                                                                          \
        return 0;                                                                                  \
    }
#define DEFINE_INTEGER(name, raw)                                                                  \
    DEFINE_INTEGER_TO(decode_##name##_f64, raw, double)                                            \
    DEFINE_INTEGER_TO(decode_##name##_f32, raw, float)

static size_t decode_f64_f64(const uint8_t *src, size_t count, void *dst)
{
    double *restrict out = dst;
    uint64_t bad = 0;

    for (size_t i = 0; i < count; i++) {
        double x;

        memcpy(&x, src + i * sizeof x, sizeof x);
        out[i] = x;
        bad += nonfinite_f64(x);
    }
    return bad;
}

/* A double beyond the range of float becomes infinite, and counts. */
static size_t decode_f64_f32(const uint8_t *src, size_t count, void *dst)
{
    float *restrict out = dst;
    uint32_t bad = 0;

    for (size_t i = 0; i < count; i++) {
        double x;

        memcpy(&x, src + i * sizeof x, sizeof x);
        out[i] = (float)x;
        bad += nonfinite_f32(out[i]);
    }
    return bad;
}

DEFINE_VIA_FLOAT(f16, uint16_t, value_f16)
DEFINE_VIA_FLOAT(bf16, uint16_t, value_bf16)
DEFINE_VIA_FLOAT(f8_e5m2, uint8_t, value_f8_e5m2)
DEFINE_VIA_FLOAT(f8_e4m3, uint8_t, value_f8_e4m3)
DEFINE_VIA_FLOAT(f8_e8m0, uint8_t, value_f8_e8m0)
DEFINE_VIA_FLOAT(f8_e4m3fnuz, uint8_t, value_f8_e4m3fnuz)
DEFINE_VIA_FLOAT(f8_e5m2fnuz, uint8_t, value_f8_e5m2fnuz)
DEFINE_VIA_FLOAT(f32, float, value_f32)
DEFINE_INTEGER(u8, uint8_t)
DEFINE_INTEGER(i8, int8_t)
DEFINE_INTEGER(u16, uint16_t)
DEFINE_INTEGER(i16, int16_t)
DEFINE_INTEGER(u32, uint32_t)
DEFINE_INTEGER(i32, int32_t)
DEFINE_INTEGER(u64, uint64_t)
DEFINE_INTEGER(i64, int64_t)

typedef size_t decode_fn(const uint8_t *src, size_t count, void *dst);

static const struct {
    const char *name;
    unsigned bits;
    bool integer;
    decode_fn *f64, *f32; /* NULL: not decodable */
} types[DTYPE_COUNT] = {
    [DTYPE_BOOL] = {"BOOL", 8, false, NULL, NULL},
    [DTYPE_U8] = {"U8", 8, true, decode_u8_f64, decode_u8_f32},
    [DTYPE_I8] = {"I8", 8, true, decode_i8_f64, decode_i8_f32},
    [DTYPE_F8_E5M2] = {"F8_E5M2", 8, false, decode_f8_e5m2_f64, decode_f8_e5m2_f32},
    [DTYPE_F8_E4M3] = {"F8_E4M3", 8, false, decode_f8_e4m3_f64, decode_f8_e4m3_f32},
    [DTYPE_F8_E8M0] = {"F8_E8M0", 8, false, decode_f8_e8m0_f64, decode_f8_e8m0_f32},
    [DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8, false, decode_f8_e4m3fnuz_f64, decode_f8_e4m3fnuz_f32},
    [DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8, false, decode_f8_e5m2fnuz_f64, decode_f8_e5m2fnuz_f32},
    [DTYPE_I16] = {"I16", 16, true, decode_i16_f64, decode_i16_f32},
    [DTYPE_U16] = {"U16", 16, true, decode_u16_f64, decode_u16_f32},
    [DTYPE_F16] = {"F16", 16, false, decode_f16_f64, decode_f16_f32},
    [DTYPE_BF16] = {"BF16", 16, false, decode_bf16_f64, decode_bf16_f32},
    [DTYPE_I32] = {"I32", 32, true, decode_i32_f64, decode_i32_f32},
    [DTYPE_U32] = {"U32", 32, true, decode_u32_f64, decode_u32_f32},
    [DTYPE_F32] = {"F32", 32, false, decode_f32_f64, decode_f32_f32},
    [DTYPE_F64] = {"F64", 64, false, decode_f64_f64, decode_f64_f32},
    [DTYPE_I64] = {"I64", 64, true, decode_i64_f64, decode_i64_f32},
    [DTYPE_U64] = {"U64", 64, true, decode_u64_f64, decode_u64_f32},
    [DTYPE_C64] = {"C64", 64, false, NULL, NULL},
    [DTYPE_F4] = {"F4", 4, false, NULL, NULL},
    [DTYPE_F6_E2M3] = {"F6_E2M3", 6, false, NULL, NULL},
    [DTYPE_F6_E3M2] = {"F6_E3M2", 6, false, NULL, NULL},
};

const char *dtype_name(enum dtype t)
{
    return (unsigned)t < DTYPE_COUNT ? types[t].name : NULL;
}

int dtype_from_name(const char *name, size_t len)
{
    for (int t = 0; t < DTYPE_COUNT; t++)
        if (strlen(types[t].name) == len && memcmp(types[t].name, name, len) == 0)
            return t;
    return -1;
}

unsigned dtype_bits(enum dtype t)
{
    return (unsigned)t < DTYPE_COUNT ? types[t].bits : 0;
}

bool dtype_decodable(enum dtype t)
{
    return (unsigned)t < DTYPE_COUNT && types[t].f64;
}

bool dtype_is_integer(enum dtype t)
{
    return (unsigned)t < DTYPE_COUNT && types[t].integer;
}

/* Copy `count` elements of `size` bytes, `step` bytes apart, side by side. The constant sizes let
 * each copy be one load and one store. */
static void gather(uint8_t *restrict out, const uint8_t *restrict src, size_t count, size_t size,
                   size_t step)
{
    switch (size) {
    case 1:
        for (size_t i = 0; i < count; i++)
            out[i] = src[i * step];
        break;
    case 2:
        for (size_t i = 0; i < count; i++)
            memcpy(out + 2 * i, src + i * step, 2);
        break;
    case 4:
        for (size_t i = 0; i < count; i++)
            memcpy(out + 4 * i, src + i * step, 4);
        break;
    default:
        ASSERT(size == 8);
        for (size_t i = 0; i < count; i++)
            memcpy(out + 8 * i, src + i * step, 8);
    }
}

static size_t decode(decode_fn *fn, size_t size, const uint8_t *src, size_t count, size_t stride,
                     uint8_t *dst, size_t dst_size)
{
    uint8_t packed[BLOCK];
    size_t block = stride == 1 ? BLOCK : BLOCK / size;
    size_t bad = 0;

    for (size_t at = 0; at < count; at += block) {
        size_t n = count - at < block ? count - at : block;
        const uint8_t *from = src + at * stride * size;

        if (stride != 1) {
            gather(packed, from, n, size, stride * size);
            from = packed;
        }
        bad += fn(from, n, dst + at * dst_size);
    }
    return bad;
}

size_t dtype_decode_f64(enum dtype t, const void *src, size_t count, size_t stride, double *dst)
{
    ASSERT(dtype_decodable(t));
    return decode(types[t].f64, types[t].bits / 8, src, count, stride, (uint8_t *)dst, sizeof *dst);
}

size_t dtype_decode_f32(enum dtype t, const void *src, size_t count, size_t stride, float *dst)
{
    ASSERT(dtype_decodable(t));
    return decode(types[t].f32, types[t].bits / 8, src, count, stride, (uint8_t *)dst, sizeof *dst);
}
