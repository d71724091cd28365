/* test_dtype.c: every code of the small types against independent formulas. */
#include "models/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Sign, e exponent bits, m mantissa bits, by arithmetic. `ieee`: the top exponent is Inf or NaN. */
static double small_float(unsigned code, int e, int m, int bias, bool ieee)
{
    unsigned mant = code & ((1u << m) - 1), expo = code >> m & ((1u << e) - 1);
    double sign = code >> (e + m) & 1 ? -1 : 1;

    if (ieee && expo == (1u << e) - 1)
        return mant ? NAN : sign * INFINITY;
    if (expo == 0)
        return sign * ldexp((double)mant, 1 - bias - m);
    return sign * ldexp((double)(mant | 1u << m), (int)expo - bias - m);
}

static void check(enum dtype t, const void *src, double want)
{
    double d;
    float f;
    size_t bad = isfinite(want) ? 0u : 1u;

    assert_int_equal(dtype_decode_f64(t, src, 1, 1, &d), bad);
    assert_true(isnan(want) ? isnan(d) : d == want);
    assert_int_equal(dtype_decode_f32(t, src, 1, 1, &f), bad);
    assert_true(isnan(want) ? isnan(f) : f == (float)want);
}

static void sixteen_bits(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 65536; c++) {
        uint16_t code = (uint16_t)c;

        check(DTYPE_F16, &code, small_float(c, 5, 10, 15, true));
        check(DTYPE_BF16, &code, small_float(c, 8, 7, 127, true));
    }
}

static void eight_bits(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        uint8_t code = (uint8_t)c;

        check(DTYPE_F8_E5M2, &code, small_float(c, 5, 2, 15, true));
        check(DTYPE_F8_E4M3, &code, (c & 0x7f) == 0x7f ? NAN : small_float(c, 4, 3, 7, false));
        check(DTYPE_F8_E4M3FNUZ, &code, c == 0x80 ? NAN : small_float(c, 4, 3, 8, false));
        check(DTYPE_F8_E5M2FNUZ, &code, c == 0x80 ? NAN : small_float(c, 5, 2, 16, false));
        check(DTYPE_F8_E8M0, &code, c == 0xff ? NAN : ldexp(1, (int)c - 127));
        check(DTYPE_U8, &code, (double)c);
        check(DTYPE_I8, &code, (double)(int8_t)code);
    }
}

static void wide_types(void **state)
{
    const double d = -1.0 / 3;
    const float f = 0.1f;
    const int32_t i = -7;
    const uint64_t u = UINT64_MAX;
    double out;

    (void)state;
    check(DTYPE_F64, &d, d);
    check(DTYPE_F32, &f, (double)f);
    check(DTYPE_I32, &i, -7);
    assert_int_equal(dtype_decode_f64(DTYPE_U64, &u, 1, 1, &out), 0);
    assert_true(out == 0x1p64);
}

/* Any stride, any alignment, the same as one by one. */
static void strided_and_unaligned(void **state)
{
    static const enum dtype types[] = {DTYPE_F64,     DTYPE_F32, DTYPE_F16, DTYPE_BF16,
                                       DTYPE_F8_E4M3, DTYPE_I16, DTYPE_I64, DTYPE_U8};
    uint8_t *bytes = malloc(8192);
    double all[64], one;

    (void)state;
    for (size_t i = 0; i < 8192; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t t = 0; t < ARRAY_LEN(types); t++)
        for (size_t stride = 1; stride < 12; stride += 3) {
            size_t size = dtype_bits(types[t]) / 8, bad = 0;
            size_t counted = dtype_decode_f64(types[t], bytes + 1, 64, stride, all);

            for (size_t i = 0; i < 64; i++) {
                bad += dtype_decode_f64(types[t], bytes + 1 + i * stride * size, 1, 1, &one);
                assert_memory_equal(&one, &all[i], sizeof one);
            }
            assert_int_equal(bad, counted);
        }
    free(bytes);
}

/* Every value comes back; what lies between two goes to the nearer, halfway to the even code. */
static void encoding(void **state)
{
    static const enum dtype types[] = {DTYPE_F16, DTYPE_BF16};

    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(types); t++)
        for (unsigned c = 0; c < 65536; c++) {
            uint16_t code = (uint16_t)c, next = (uint16_t)(c + 1), out = 0, out_above = 0;
            float f, g, middle, above;
            size_t bad = dtype_decode_f32(types[t], &code, 1, 1, &f);

            dtype_encode_f32(types[t], &f, 1, &out, 1);
            assert_int_equal(isnan(f) ? (out & 0x7fff) > 0x7c00 : out == (f == 0 ? 0 : code), 1);
            if (bad || dtype_decode_f32(types[t], &next, 1, 1, &g))
                continue;
            middle = f + (g - f) / 2;
            above = nextafterf(middle, g);
            dtype_encode_f32(types[t], &middle, 1, &out, 1);
            dtype_encode_f32(types[t], &above, 1, &out_above, 1);
            assert_int_equal(out & 0x7fff, (code & 1 ? next : code) & 0x7fff);
            assert_int_equal(out_above, next);
        }
}

static void encoding_the_ends(void **state)
{
    static const struct {
        enum dtype t;
        float f;
        uint16_t code;
    } cases[] = {{DTYPE_F16, 65519.99F, 0x7bff},  {DTYPE_F16, 65520, 0x7c00},
                 {DTYPE_F16, -1e30F, 0xfc00},     {DTYPE_F16, 2.9e-8F, 0},
                 {DTYPE_F16, 3e-8F, 1},           {DTYPE_BF16, 3.4e38F, 0x7f80},
                 {DTYPE_BF16, -INFINITY, 0xff80}, {DTYPE_F16, -0.0F, 0}};
    double wide[2] = {7, 7};
    const float values[] = {-0.0F, 0.1F};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint16_t out;

        dtype_encode_f32(cases[i].t, &cases[i].f, 1, &out, 1);
        assert_int_equal(out, cases[i].code);
    }
    dtype_encode_f32(DTYPE_F64, values, 2, wide, 1);
    assert_true(wide[0] == 0 && !signbit(wide[0]) && wide[1] == (double)0.1F);
}

static void names(void **state)
{
    (void)state;
    for (int t = 0; t < DTYPE_COUNT; t++) {
        const char *name = dtype_name((enum dtype)t);

        assert_non_null(name);
        assert_int_equal(dtype_from_name(name, strlen(name)), t);
        assert_true(dtype_bits((enum dtype)t) > 0);
    }
    assert_int_equal(dtype_from_name("F3", 2), -1);
    assert_int_equal(dtype_from_name("F320", 3), DTYPE_F32);
    assert_false(dtype_decodable(DTYPE_C64) || dtype_decodable(DTYPE_F4));
    assert_true(dtype_is_integer(DTYPE_U16) && !dtype_is_integer(DTYPE_F16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixteen_bits), cmocka_unit_test(eight_bits),
        cmocka_unit_test(wide_types),   cmocka_unit_test(strided_and_unaligned),
        cmocka_unit_test(encoding),     cmocka_unit_test(encoding_the_ends),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
