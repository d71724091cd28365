/* test_bitmask.c: matrices there and back, and what nobody should have written. */
#include "compute/bitmask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed = 1;

static uint64_t any(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed >> 33;
}

/* The example of the format's authors: [[0, 0, 0], [1, 1, 1]] in single precision. */
static void the_example(void **state)
{
    const float w[] = {0, 0, 0, 1, 1, 1};
    float values[6];
    int64_t offsets[2];
    uint8_t mask[2];

    (void)state;
    assert_int_equal(bitmask_of(w, 2, 3, 4, true, mask), 3);
    bitmask_pack(w, 2, 3, 4, mask, values, offsets);
    assert_int_equal(mask[0], 0);
    assert_int_equal(mask[1], 7);
    assert_int_equal(offsets[0], 0);
    assert_int_equal(offsets[1], 0);
    assert_true(values[0] == 1 && values[1] == 1 && values[2] == 1);
}

static void what_is_zero(void **state)
{
    const float w[] = {0.0f, -0.0f, 1e-45f, -1, __builtin_nanf(""), 0, 0, 0, __builtin_inff()};
    const uint8_t fnuz[] = {0, 0x80, 1}; /* where the sign alone is NaN */
    uint8_t mask[2];

    (void)state;
    assert_int_equal(bitmask_of(w, 1, 9, 4, true, mask), 4);
    assert_int_equal(mask[0], 0x1c);
    assert_int_equal(mask[1], 0x01);
    assert_int_equal(bitmask_of(fnuz, 1, 3, 1, false, mask), 2);
    assert_int_equal(mask[0], 6);
}

struct matrix {
    size_t rows, cols, element;
    uint8_t *w, *mask, *values;
    int64_t *offsets;
    uint64_t kept;
};

/* Some rows and some columns empty, others full. */
static struct matrix matrix_new(size_t rows, size_t cols, size_t element, unsigned percent)
{
    struct matrix m = {.rows = rows, .cols = cols, .element = element};

    m.w = calloc(rows * cols + 1, element);
    m.mask = malloc(rows * bitmask_row_bytes(cols) + 1);
    m.offsets = calloc(rows + 1, sizeof *m.offsets);
    for (size_t i = 0; i < rows * cols; i++)
        if (any() % 100 < percent)
            for (size_t b = 0; b < element; b++)
                m.w[i * element + b] = (uint8_t)any();
    m.kept = bitmask_of(m.w, rows, cols, element, true, m.mask);
    m.values = malloc(m.kept * element + 1);
    bitmask_pack(m.w, rows, cols, element, m.mask, m.values, m.offsets);
    return m;
}

static void matrix_done(struct matrix *m)
{
    free(m->w);
    free(m->mask);
    free(m->values);
    free(m->offsets);
}

static bool element_is_zero(const struct matrix *m, size_t i)
{
    for (size_t b = 0; b < m->element; b++)
        if (m->w[i * m->element + b] & (b + 1 == m->element ? 0x7f : 0xff))
            return false;
    return true;
}

/* Bit by bit and row by row, then all of it again. */
static void check_matrix(const struct matrix *m)
{
    size_t stride = bitmask_row_bytes(m->cols), at = 0;
    uint8_t *out = malloc(m->rows * m->cols * m->element + 1);
    struct err err = {0};

    for (size_t r = 0; r < m->rows; r++) {
        assert_int_equal(m->offsets[r], at);
        for (size_t c = 0; c < m->cols; c++) {
            bool kept = m->mask[r * stride + c / 8] >> c % 8 & 1;

            assert_int_equal(kept, !element_is_zero(m, r * m->cols + c));
            at += kept;
        }
    }
    assert_int_equal(at, m->kept);
    assert_int_equal(bitmask_check(m->mask, m->offsets, m->rows, m->cols, m->kept, &err), 0);
    memset(out, 0xee, m->rows * m->cols * m->element);
    bitmask_unpack(m->mask, m->values, m->rows, m->cols, m->element, out);
    for (size_t i = 0; i < m->rows * m->cols; i++) {
        const uint8_t *w = m->w + i * m->element, *o = out + i * m->element;
        static const uint8_t zero[8];

        assert_memory_equal(o, element_is_zero(m, i) ? zero : w, m->element);
    }
    free(out);
}

static void there_and_back(void **state)
{
    static const size_t cols[] = {1, 7, 8, 9, 16, 63, 64, 65, 200};
    static const unsigned share[] = {0, 3, 50, 97, 100};

    (void)state;
    for (size_t element = 1; element <= 8; element *= 2)
        for (size_t i = 0; i < ARRAY_LEN(cols); i++)
            for (size_t k = 0; k < ARRAY_LEN(share); k++) {
                struct matrix m = matrix_new(1 + any() % 20, cols[i], element, share[k]);

                check_matrix(&m);
                matrix_done(&m);
            }
}

static void wrong(struct matrix *m, uint64_t n_values, const char *what)
{
    struct err err = {0};

    assert_int_equal(bitmask_check(m->mask, m->offsets, m->rows, m->cols, n_values, &err),
                     ERR_FORMAT);
    assert_non_null(strstr(err.text, what));
}

static void hostile_masks_are_refused(void **state)
{
    struct matrix m = matrix_new(5, 13, 2, 50);
    size_t stride = bitmask_row_bytes(13);

    (void)state;
    wrong(&m, m.kept + 1, "there are");
    wrong(&m, m.kept - 1, "there are");
    wrong(&m, UINT64_MAX, "there are");
    m.mask[2 * stride + 1] |= 0x20;
    wrong(&m, m.kept, "row 2 has bits behind");
    m.mask[2 * stride + 1] &= 0x1f;
    m.mask[3 * stride] ^= 1; /* rows 0 to 3 begin where they should, row 4 does not */
    wrong(&m, m.kept, "row 4 begins");
    m.mask[3 * stride] ^= 1;
    m.offsets[0] = 1;
    wrong(&m, m.kept, "row 0 begins");
    m.offsets[0] = -1;
    wrong(&m, m.kept, "row 0 begins");
    m.offsets[0] = INT64_MIN;
    wrong(&m, m.kept, "row 0 begins");
    m.offsets[0] = 0;
    check_matrix(&m);
    matrix_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example),
        cmocka_unit_test(what_is_zero),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(hostile_masks_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
