/* test_correct.c: ADMM and ALPS: counts, errors, and layers whose answer is known. (The weights of
 * a whole model are compared with NumPy in tests/http/test_t_prune_solvers.py.) */
#include "compute/admm.h"
#include "compute/alps.h"

#include "compute/lapack.h"
#include "compute/prune_score.h"
#include "compute/prune_select.h"
#include "compute/sparsegpt.h"
#include "golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 40, COLS = 64, N = ROWS * COLS, BYTES = COLS / 8 };

struct layer {
    float w[N], pruned[N];
    double gram[COLS * COLS], destroyed[COLS * COLS];
    uint8_t mask[ROWS * BYTES];
    struct correct_result result;
};

typedef int method_fn(struct layer *l, const struct prune_options *opt, struct err *err);

static int run_admm(struct layer *l, const struct prune_options *opt, struct err *err)
{
    memcpy(l->pruned, l->w, sizeof l->w);
    memcpy(l->destroyed, l->gram, sizeof l->gram);
    return admm(l->pruned, ROWS, COLS, l->destroyed, 0.01, opt, l->mask, &l->result, err);
}

static int run_alps(struct layer *l, const struct prune_options *opt, struct err *err)
{
    memcpy(l->pruned, l->w, sizeof l->w);
    memcpy(l->destroyed, l->gram, sizeof l->gram);
    return alps(l->pruned, ROWS, COLS, l->destroyed, 0.01, ALPS_DAMPING, opt, l->mask, &l->result,
                err);
}

static method_fn *const methods[] = {run_admm, run_alps};

/* Inputs that are related: each is partly the one before it. */
static void make(struct layer *l, uint64_t seed, size_t tokens)
{
    struct rng rng = {seed};
    double x[COLS];

    memset(l, 0, sizeof *l);
    for (size_t i = 0; i < N; i++)
        l->w[i] = (float)rng_gauss(&rng);
    for (size_t t = 0; t < tokens; t++) {
        for (size_t j = 0; j < COLS; j++)
            x[j] = rng_gauss(&rng) * (1 + (double)(j % 7)) + (j ? 0.7 * x[j - 1] : 0);
        for (size_t i = 0; i < COLS; i++)
            for (size_t j = 0; j < COLS; j++)
                l->gram[i * COLS + j] += x[i] * x[j];
    }
}

static bool gone(const struct layer *l, size_t r, size_t c)
{
    return l->mask[r * BYTES + (c >> 3)] >> (c & 7) & 1;
}

/* 1/2 tr(D H D^T), H = 0.01 gram + 0.01 mean diagonal, for the change to w. */
static double error_of(const struct layer *l, const float *now)
{
    double sum = 0, mean = 0;

    for (size_t j = 0; j < COLS; j++)
        mean += 0.01 * l->gram[j * COLS + j] / COLS;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < COLS; i++) {
            double di = (double)now[r * COLS + i] - (double)l->w[r * COLS + i];

            for (size_t j = 0; j < COLS; j++) {
                double h = 0.01 * l->gram[i * COLS + j] + (i == j ? 0.01 * mean : 0);

                sum += di * h * ((double)now[r * COLS + j] - (double)l->w[r * COLS + j]);
            }
        }
    return sum / 2;
}

static double wanda(const struct layer *l, double sparsity)
{
    static float now[N];
    float activity[COLS], score[COLS];
    uint32_t scratch[COLS];

    memcpy(now, l->w, sizeof now);
    for (size_t j = 0; j < COLS; j++)
        activity[j] = sqrtf((float)l->gram[j * COLS + j]);
    for (size_t r = 0; r < ROWS; r++) {
        uint8_t mask[BYTES] = {0};

        prune_score_wanda(l->w + r * COLS, activity, COLS, score);
        prune_lowest(score, COLS, (size_t)(COLS * sparsity), scratch, mask);
        for (size_t j = 0; j < COLS; j++)
            if (mask[j >> 3] >> (j & 7) & 1)
                now[r * COLS + j] = 0;
    }
    return error_of(l, now);
}

static int read_gram(void *arg, double *gram, struct err *err)
{
    const struct layer *l = arg;

    (void)err;
    for (size_t i = 0; i < COLS; i++)
        for (size_t j = i; j < COLS; j++)
            gram[sparsegpt_place(COLS, i, j)] = l->gram[i * COLS + j];
    return 0;
}

static double by_sparsegpt(const struct layer *l, double sparsity)
{
    static float now[N];
    struct sparsegpt_options opt = {.sparsity = sparsity};
    struct sparsegpt_factor_info info;
    uint8_t mask[ROWS * BYTES] = {0};
    AUTO(freep) float *u = NULL;
    double error;
    struct err err;

    memcpy(now, l->w, sizeof now);
    assert_int_equal(
        sparsegpt_factor(COLS, read_gram, (void *)(uintptr_t)l, 0.01, 0.01, &u, &info, &err), 0);
    assert_int_equal(sparsegpt(now, ROWS, COLS, u, &opt, mask, &error, &err), 0);
    assert_true(fabs(error - error_of(l, now)) < 1e-3 * error);
    return error;
}

/* Exactly so many go, the error is what it says, and smaller than without correction. */
static void counts_and_errors(void **state)
{
    static const double targets[] = {0.1, 0.37, 0.5, 0.7, 0.9};
    static struct layer l;
    size_t admm_wins = 0, alps_wins = 0, cases = 0;
    struct err err;

    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++)
        for (size_t i = 0; i < ARRAY_LEN(targets); i++, cases++) {
            struct prune_options opt = {.selection = PRUNE_PER_TENSOR, .sparsity = targets[i]};
            double reference = 0, plain = 0;

            for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
                size_t zeros = 0;

                make(&l, seed, 300);
                reference = by_sparsegpt(&l, targets[i]);
                plain = wanda(&l, targets[i]);
                assert_int_equal(methods[m](&l, &opt, &err), 0);
                for (size_t k = 0; k < N; k++) {
                    assert_int_equal(gone(&l, k / COLS, k % COLS), l.pruned[k] == 0);
                    zeros += l.pruned[k] == 0;
                }
                assert_int_equal(zeros, (size_t)(N * targets[i]));
                assert_int_equal(l.result.pruned, zeros);
                assert_true(fabs(l.result.error - error_of(&l, l.pruned)) < 1e-3 * l.result.error);
                assert_true(l.result.error < plain);
                *(m ? &alps_wins : &admm_wins) += l.result.error < reference;
            }
        }
    assert_true(alps_wins * 10 >= cases * 9);
    assert_true(admm_wins * 2 >= cases);
}

/* What stays fits as well as it can: the residual of each row, on its mask, is nearly 0. */
static void alps_is_polished(void **state)
{
    static struct layer l;
    struct prune_options opt = {.selection = PRUNE_PER_TENSOR, .sparsity = 0.6};
    double mean = 0, residual = 0, size = 0;
    struct err err;

    (void)state;
    make(&l, 3, 300);
    assert_int_equal(run_alps(&l, &opt, &err), 0);
    for (size_t j = 0; j < COLS; j++)
        mean += 0.01 * l.gram[j * COLS + j] / COLS;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < COLS; i++) {
            double at = 0, whole = 0;

            if (gone(&l, r, i))
                continue;
            for (size_t j = 0; j < COLS; j++) {
                double h = 0.01 * l.gram[i * COLS + j] + (i == j ? 0.01 * mean : 0);

                whole += h * (double)l.w[r * COLS + j];
                at += h * (double)(l.w[r * COLS + j] - l.pruned[r * COLS + j]);
            }
            residual += at * at;
            size += whole * whole;
        }
    assert_true(residual <= 1e-6 * size);
    assert_true(l.result.iterations >= 3 && l.result.iterations <= ALPS_ITERATIONS);
    assert_true(l.result.rho > 0.1);
}

static void rows_and_groups(void **state)
{
    static struct layer l;
    struct prune_options by_row = {.selection = PRUNE_PER_ROW, .sparsity = 0.55};
    struct prune_options groups = {.selection = PRUNE_N_OF_M, .m = 8, .pruned = 5};
    struct err err;

    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
        make(&l, 5, 300);
        assert_int_equal(methods[m](&l, &by_row, &err), 0);
        for (size_t r = 0; r < ROWS; r++) {
            size_t n = 0;

            for (size_t c = 0; c < COLS; c++)
                n += gone(&l, r, c);
            assert_int_equal(n, (size_t)(COLS * 0.55));
        }
        assert_int_equal(methods[m](&l, &groups, &err), 0);
        for (size_t i = 0; i < ROWS * BYTES; i++)
            assert_int_equal(__builtin_popcount(l.mask[i]), 5);
        assert_true(fabs(l.result.error - error_of(&l, l.pruned)) < 1e-3 * l.result.error);
    }
}

/* Inputs that know nothing of one another: what stays stays, and it could hardly cost less: the
 * lowest magnitudes go, but for some that are nearly alike, since multipliers grow. */
static void unrelated_inputs(void **state)
{
    static struct layer l;
    struct prune_options opt = {.selection = PRUNE_PER_TENSOR, .sparsity = 0.4};
    static uint8_t want[(N + 7) / 8];
    static uint32_t scratch[N];
    static float score[N];
    struct err err;

    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
        double least = 0;

        make(&l, 7, 1);
        for (size_t i = 0; i < COLS * COLS; i++)
            l.gram[i] = i % (COLS + 1) == 0;
        memset(want, 0, sizeof want);
        prune_score_magnitude(l.w, N, score);
        prune_lowest(score, N, (size_t)(N * 0.4), scratch, want);
        assert_int_equal(methods[m](&l, &opt, &err), 0);
        for (size_t i = 0; i < N; i++) {
            bool goes = want[i >> 3] >> (i & 7) & 1;

            least += goes ? 0.01 * 1.01 * (double)l.w[i] * (double)l.w[i] / 2 : 0;
            assert_true(l.pruned[i] == 0 || fabsf(l.pruned[i] - l.w[i]) < (m ? 2e-3F : 0.03F));
        }
        assert_true(l.result.error >= least * (1 - 1e-3) && l.result.error < 1.1 * least);
    }
}

/* Fewer tokens than inputs; an input that was never active; nothing and everything to go. */
static void odd_layers(void **state)
{
    static struct layer l;
    struct prune_options opt = {.selection = PRUNE_PER_TENSOR, .sparsity = 0.1};
    struct prune_options none = opt, all = opt;
    struct err err;

    (void)state;
    none.sparsity = 0;
    all.sparsity = 1;
    for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
        size_t first = 0;

        make(&l, 11, 20);
        for (size_t j = 0; j < COLS; j++)
            l.gram[5 * COLS + j] = l.gram[j * COLS + 5] = 0;
        assert_int_equal(methods[m](&l, &opt, &err), 0);
        assert_int_equal(l.result.n_dead, 1);
        assert_int_equal(l.result.pruned, N / 10);
        for (size_t i = 0; i < N; i++)
            assert_true(isfinite(l.pruned[i]));
        for (size_t r = 0; r < ROWS; r++)
            first += gone(&l, r, 5);
        assert_int_equal(first, ROWS);
        assert_int_equal(methods[m](&l, &none, &err), 0);
        assert_int_equal(l.result.pruned, 0);
        for (size_t i = 0; i < N; i++)
            assert_true(fabsf(l.pruned[i] - l.w[i]) <= 2e-2F * (fabsf(l.w[i]) + 0.1F));
        assert_int_equal(methods[m](&l, &all, &err), 0);
        assert_int_equal(l.result.pruned, N);
    }
}

static void bad_matrices(void **state)
{
    static struct layer l;
    struct prune_options opt = {.selection = PRUNE_PER_TENSOR, .sparsity = 0.5};
    struct err err;

    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
        make(&l, 1, 100);
        memset(l.gram, 0, sizeof l.gram);
        assert_int_equal(methods[m](&l, &opt, &err), ERR_INVALID);
        l.gram[0] = -1;
        assert_int_equal(methods[m](&l, &opt, &err), ERR_INVALID);
        l.gram[0] = NAN;
        assert_int_equal(methods[m](&l, &opt, &err), ERR_INVALID);
        make(&l, 1, 100);
        l.gram[1] = l.gram[COLS] = 9 * sqrt(l.gram[0] * l.gram[COLS + 1]);
        assert_int_equal(methods[m](&l, &opt, &err), ERR_NUMERIC);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_errors), cmocka_unit_test(alps_is_polished),
        cmocka_unit_test(rows_and_groups),   cmocka_unit_test(unrelated_inputs),
        cmocka_unit_test(odd_layers),        cmocka_unit_test(bad_matrices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
