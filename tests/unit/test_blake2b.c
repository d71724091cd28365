/* test_blake2b.c: our BLAKE2b is OpenSSL's, for every length and however the bytes are cut. */
#include "common/blake2b.h"

#include "common/base.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 1100

static void fill(uint8_t *bytes, size_t n)
{
    uint32_t x = 12345;

    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(x >> 24);
    }
}

static void assert_same(const uint8_t *bytes, size_t n, const uint8_t got[BLAKE2B_LEN])
{
    uint8_t want[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    assert_int_equal(EVP_Digest(bytes, n, want, &len, EVP_blake2b512(), NULL), 1);
    assert_int_equal(len, BLAKE2B_LEN);
    assert_memory_equal(got, want, BLAKE2B_LEN);
}

static void every_length(void **state)
{
    uint8_t bytes[LONGEST], got[BLAKE2B_LEN];
    struct blake2b s;

    (void)state;
    if (!blake2b_available())
        skip();
    fill(bytes, sizeof bytes);
    for (size_t n = 0; n <= LONGEST; n++) {
        blake2b_init(&s);
        blake2b_add(&s, bytes, n);
        blake2b_finish(&s, got);
        assert_same(bytes, n, got);
    }
}

static void in_pieces(void **state)
{
    static const size_t piece[] = {1, 3, 127, 128, 129, 255, 256, 257, 1000};
    uint8_t bytes[LONGEST], got[BLAKE2B_LEN];
    struct blake2b s;

    (void)state;
    if (!blake2b_available())
        skip();
    fill(bytes, sizeof bytes);
    for (size_t k = 0; k < ARRAY_LEN(piece); k++)
        for (size_t total = 0; total <= LONGEST; total += 64) {
            blake2b_init(&s);
            for (size_t at = 0; at < total; at += piece[k])
                blake2b_add(&s, bytes + at, total - at < piece[k] ? total - at : piece[k]);
            blake2b_finish(&s, got);
            assert_same(bytes, total, got);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length),
        cmocka_unit_test(in_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
