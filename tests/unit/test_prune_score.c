/* test_prune_score.c: Wanda's masks against the original tool's, RIA and the variant against plain
 * sums, counts of rows. */
#include "compute/prune_score.h"

#include "common/digest.h"
#include "compute/prune_select.h"
#include "golden.h"
#include "manlm_fixture.h"

static void wanda_mask(const struct manlm_layer *l, double sparsity, char hex[65])
{
    AUTO(hasher_freep) struct hasher *h = hasher_new_sha256();
    float *score = malloc(l->cols * sizeof *score), *activity = malloc(l->cols * sizeof *activity);
    uint32_t *scratch = malloc(l->cols * sizeof *scratch);
    uint8_t *mask = malloc(prune_mask_bytes(l->cols));
    struct digest d;

    for (size_t j = 0; j < l->cols; j++)
        activity[j] = sqrtf(l->sumsq[j] / (float)l->sequences);
    for (size_t i = 0; i < l->rows; i++) {
        prune_score_wanda(l->w + i * l->cols, activity, l->cols, score);
        memset(mask, 0, prune_mask_bytes(l->cols));
        prune_lowest(score, l->cols, prune_row_count(i, l->rows, l->cols, sparsity, false), scratch,
                     mask);
        hasher_add(h, mask, prune_mask_bytes(l->cols));
    }
    hasher_finish(h, &d);
    for (size_t i = 0; i < DIGEST_LEN; i++)
        snprintf(hex + 2 * i, 3, "%02x", d.b[i]);
    free(score);
    free(activity);
    free(scratch);
    free(mask);
}

static void wanda_against_the_original(void **state)
{
    static const double targets[] = {0.5, 0.7};
    json_t *file = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(manlm_layers); i++) {
        struct manlm_layer l = manlm_layer(i);

        for (size_t k = 0; k < ARRAY_LEN(targets); k++) {
            char name[32], hex[65];

            snprintf(name, sizeof name, "wanda_%.1f", targets[k]);
            wanda_mask(&l, targets[k], hex);
            assert_string_equal(hex, json_string_value(json_object_get(
                                         manlm_case(&file, l.name, name), "mask_sha256")));
        }
        manlm_layer_done(&l);
    }
    json_decref(file);
}

static void ria_is_the_sum_of_two_shares(void **state)
{
    enum { ROWS = 7, COLS = 19 };
    struct rng rng = {5};
    float w[ROWS * COLS], activity[COLS], column[COLS], score[COLS];
    double sum[COLS] = {0}, row[ROWS];

    (void)state;
    for (size_t i = 0; i < ROWS * COLS; i++)
        w[i] = i % COLS == 3 ? 0 : (float)rng_gauss(&rng);
    for (size_t i = 0; i < ROWS; i++)
        row[i] = prune_add_magnitudes(w + i * COLS, COLS, sum);
    for (size_t j = 0; j < COLS; j++) {
        activity[j] = (float)(0.1 + rng_uniform(&rng));
        column[j] = (float)sum[j];
    }
    for (size_t i = 0; i < ROWS; i++) {
        prune_score_ria(w + i * COLS, activity, column, row[i], COLS, score);
        for (size_t j = 0; j < COLS; j++) {
            double of_row = 0, of_column = 0, m = (double)fabsf(w[i * COLS + j]);

            for (size_t k = 0; k < COLS; k++)
                of_row += (double)fabsf(w[i * COLS + k]);
            for (size_t k = 0; k < ROWS; k++)
                of_column += (double)fabsf(w[k * COLS + j]);
            assert_true(j == 3 ? score[j] == 0
                               : fabs((double)score[j] /
                                          ((m / of_row + m / of_column) * (double)activity[j]) -
                                      1) < 1e-6);
        }
    }
}

/* Pruning by shares takes the same share of every row's score, to within one weight. */
static void the_variant_takes_equal_shares(void **state)
{
    enum { ROWS = 11, COLS = 200 };
    static float score[ROWS * COLS], share[ROWS * COLS];
    static uint32_t scratch[ROWS * COLS];
    static uint8_t mask[ROWS * COLS / 8];
    struct rng rng = {6};
    double least = 1, most = 0;

    (void)state;
    for (size_t i = 0; i < ROWS * COLS; i++)
        share[i] = score[i] = (float)pow(rng_uniform(&rng), 1 + (double)(i / COLS % 4));
    for (size_t i = 0; i < ROWS; i++)
        prune_score_share(share + i * COLS, COLS, scratch);
    prune_lowest(share, ROWS * COLS, ROWS * COLS * 6 / 10, scratch, mask);
    for (size_t i = 0; i < ROWS; i++) {
        double sum = 0, gone = 0, largest = 0, kept = INFINITY;

        for (size_t j = 0; j < COLS; j++) {
            size_t at = i * COLS + j;
            double s = (double)score[at];

            sum += s;
            if (mask[at >> 3] >> (at & 7) & 1) {
                gone += s;
                largest = fmax(largest, s);
            } else {
                kept = fmin(kept, s);
            }
        }
        assert_true(largest <= kept);
        least = fmin(least, (gone + kept) / sum);
        most = fmax(most, gone / sum);
    }
    assert_true(most <= least);
}

static void order_is_stable(void **state)
{
    static const float score[] = {2, 0, 2, 1e-30F, 5, 0, -0.0F, 2};
    static const uint32_t want[] = {1, 5, 6, 3, 0, 2, 7, 4};
    uint32_t order[8], scratch[16];

    (void)state;
    prune_order(score, 8, order, scratch);
    assert_memory_equal(order, want, sizeof want);
}

static void counts_of_rows(void **state)
{
    static const size_t rows[] = {1, 3, 7, 192, 1000};
    static const double targets[] = {0, 0.13, 0.5, 0.7, 0.999, 1};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t k = 0; k < ARRAY_LEN(targets); k++) {
            size_t sum = 0, cols = 37, each = (size_t)(37 * targets[k]);

            for (size_t r = 0; r < rows[i]; r++) {
                size_t n = prune_row_count(r, rows[i], cols, targets[k], true);

                assert_true(n >= each && n <= each + 1);
                assert_int_equal(prune_row_count(r, rows[i], cols, targets[k], false), each);
                sum += n;
            }
            assert_int_equal(sum, (size_t)((double)(rows[i] * cols) * targets[k]));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wanda_against_the_original),
        cmocka_unit_test(ria_is_the_sum_of_two_shares),
        cmocka_unit_test(the_variant_takes_equal_shares),
        cmocka_unit_test(order_is_stable),
        cmocka_unit_test(counts_of_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
