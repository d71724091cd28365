/* test_common.c: buffers, errors, digests, ids, JSON text. */
#include "common/buf.h"
#include "common/digest.h"
#include "common/err.h"
#include "common/ident.h"
#include "common/json_text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void buffer_round_trip(void **state)
{
    struct buf b = BUF_INIT;
    struct reader r;
    size_t len;

    (void)state;
    buf_put_u8(&b, 7);
    buf_put_u32(&b, 0xdeadbeef);
    buf_put_u64(&b, UINT64_MAX - 1);
    buf_put_f64(&b, -0.1);
    buf_put_str(&b, "name", 4);
    reader_init(&r, b.data, b.len);
    assert_int_equal(reader_u8(&r), 7);
    assert_int_equal(reader_u32(&r), 0xdeadbeef);
    assert_true(reader_u64(&r) == UINT64_MAX - 1);
    assert_true(reader_f64(&r) == -0.1);
    assert_memory_equal(reader_str(&r, 10, &len), "name", 4);
    assert_int_equal(len, 4);
    assert_true(reader_ok(&r));
    assert_int_equal(reader_u8(&r), 0);
    assert_false(reader_ok(&r));
    buf_done(&b);
}

static void reader_refuses_long_strings(void **state)
{
    struct buf b = BUF_INIT;
    struct reader r;
    size_t len;

    (void)state;
    buf_put_str(&b, "too long", 8);
    reader_init(&r, b.data, b.len);
    assert_null(reader_str(&r, 7, &len));
    assert_false(reader_ok(&r));
    b.data[0] = 0xff; /* claims more than there is */
    reader_init(&r, b.data, b.len);
    assert_null(reader_str(&r, SIZE_MAX, &len));
    assert_false(reader_ok(&r));
    buf_done(&b);
}

static void digests(void **state)
{
    struct hasher *h = hasher_new();
    struct digest a, b;
    char hex[DIGEST_HEX_LEN + 1];

    (void)state;
    hasher_add(h, "abc", 3);
    hasher_finish(h, &a);
    digest_hex(&a, hex);
    /* RFC 7693, appendix A, first half. */
    assert_string_equal(hex, "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1");
    hasher_add(h, "a", 1);
    hasher_add(h, "bc", 2);
    hasher_finish(h, &b);
    assert_true(digest_equal(&a, &b));
    hasher_add_str(h, "a");
    hasher_add_str(h, "bc");
    hasher_finish(h, &a);
    hasher_add_str(h, "ab");
    hasher_add_str(h, "c");
    hasher_finish(h, &b);
    assert_false(digest_equal(&a, &b));
    hasher_free(h);
}

static void idents(void **state)
{
    char a[IDENT_MAX], b[IDENT_MAX];

    (void)state;
    ident_new(a, "job_");
    ident_new(b, "job_");
    assert_true(ident_valid(a, "job_") && ident_valid(b, "job_"));
    assert_string_not_equal(a, b);
    assert_memory_equal(a, b, 12); /* the same minutes, at least */
    assert_false(ident_valid(a, "mdl_"));
    a[10] = 'u'; /* not a Crockford digit */
    assert_false(ident_valid(a, "job_"));
    assert_false(ident_valid("job_", "job_"));
}

static void times(void **state)
{
    char text[TIME_TEXT_MAX];

    (void)state;
    time_text(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    time_text(1794997123456, text);
    assert_string_equal(text, "2026-11-18T10:18:43.456Z");
}

static void json_numbers(void **state)
{
    static const double values[] = {0.1, 1e300, -2.5e-7, 3, 1.0 / 3, 2.2250738585072014e-308};
    struct buf b = BUF_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        buf_reset(&b);
        json_text_real(&b, values[i]);
        buf_put_u8(&b, 0);
        assert_true(strtod((char *)b.data, NULL) == values[i]);
    }
    buf_reset(&b);
    json_text_real(&b, 0.1);
    assert_memory_equal(b.data, "0.1", 3);
    buf_reset(&b);
    json_text_real(&b, NAN);
    json_text_real(&b, INFINITY);
    assert_memory_equal(b.data, "nullnull", 8);
    buf_done(&b);
}

/* By printf and strtod, with as few digits from 15 on as read back. */
static void check_number(struct buf *b, double x)
{
    char want[40];

    for (int digits = 15; digits <= 17; digits++) {
        snprintf(want, sizeof want, "%.*g", digits, x);
        if (strtod(want, NULL) == x)
            break;
    }
    buf_reset(b);
    json_text_real(b, x);
    buf_put_u8(b, 0);
    assert_string_equal((char *)b->data, want);
}

static void json_numbers_are_printfs(void **state)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    uint64_t z = 1;

    (void)state;
    for (int e = -60; e <= 60; e++)
        for (int ulp = -3; ulp <= 3; ulp++) {
            double two = ldexp(1, e), ten = pow(10, e / 3);

            check_number(&b, two + ulp * ldexp(1, e - 53));
            check_number(&b, ten * (1 + ulp * 0x1p-53));
            check_number(&b, -ten * (1 + ulp * 1e-15));
        }
    for (int i = 0; i < 100000; i++) {
        double u, x;

        z = z * 6364136223846793005u + 1442695040888963407u;
        u = (double)(z >> 11) * 0x1p-53;
        x = ldexp(u, (int)(z % 70) - 16);
        check_number(&b, x);
        check_number(&b, floor(x * 1000) / 1000);
        check_number(&b, (double)(float)u);
        check_number(&b, floor(u * 1e6));
    }
}

static void json_strings(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    buf_printf(&b, "{");
    json_text_key_string(&b, "a", "q\"b\\n\n\x01");
    json_text_key_string(&b, "b", NULL);
    json_text_key_int(&b, "c", -5);
    buf_printf(&b, "}");
    buf_put_u8(&b, 0);
    assert_string_equal((char *)b.data,
                        "{\"a\":\"q\\\"b\\\\n\\u000a\\u0001\",\"b\":null,\"c\":-5}");
    buf_done(&b);
}

static void errors(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(err_set_at(&e, ERR_INVALID, "/a/b", "bad %d", 3), ERR_INVALID);
    assert_string_equal(e.pointer, "/a/b");
    assert_string_equal(e.text, "bad 3");
    assert_int_equal(err_set(NULL, ERR_IO, "x"), ERR_IO);
    assert_int_equal(err_set_errno(&e, 28, "write"), ERR_FULL);
    for (int c = ERR_INTERNAL; c <= 0; c++)
        assert_string_not_equal(err_name(c), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_round_trip),
        cmocka_unit_test(reader_refuses_long_strings),
        cmocka_unit_test(digests),
        cmocka_unit_test(idents),
        cmocka_unit_test(times),
        cmocka_unit_test(json_numbers),
        cmocka_unit_test(json_numbers_are_printfs),
        cmocka_unit_test(json_strings),
        cmocka_unit_test(errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
