/* test_prune_select.c: counting against a stable sort. */
#include "compute/prune_select.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct item {
    float score;
    size_t at;
};

static int by_score(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* The mask of the k lowest, by sorting. */
static uint8_t *sorted_mask(const float *score, size_t n, size_t k)
{
    struct item *item = malloc((n + 1) * sizeof *item);
    uint8_t *mask = calloc(prune_mask_bytes(n) + 1, 1);

    for (size_t i = 0; i < n; i++)
        item[i] = (struct item){score[i], i};
    qsort(item, n, sizeof *item, by_score);
    for (size_t i = 0; i < k; i++)
        mask[item[i].at >> 3] |= (uint8_t)(1u << (item[i].at & 7));
    free(item);
    return mask;
}

/* Scores with as many ties as `kind` says; also zeros of both signs and very small and large. */
static void draw(struct rng *rng, unsigned kind, size_t n, float *score)
{
    for (size_t i = 0; i < n; i++) {
        double u = rng_uniform(rng);

        score[i] = kind == 0   ? (float)u
                   : kind == 1 ? (float)(int)(u * 7)
                   : kind == 2 ? (u < .3 ? -0.0f : 1e-42f * (float)(int)(u * 100))
                   : kind == 3 ? (float)exp(80 * (u - .5))
                               : 3.25f;
    }
}

static void lowest_of_a_row(void **state)
{
    struct rng rng = {1};

    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        size_t n = 1 + rng_u64(&rng) % 300, k = rng_u64(&rng) % (n + 1);
        float *score = malloc(n * sizeof *score);
        uint32_t *scratch = malloc(n * sizeof *scratch);
        uint8_t *mask = calloc(prune_mask_bytes(n), 1), *want;

        draw(&rng, round % 5, n, score);
        want = sorted_mask(score, n, k);
        prune_lowest(score, n, k, scratch, mask);
        assert_memory_equal(mask, want, prune_mask_bytes(n));
        free(want);
        free(mask);
        free(scratch);
        free(score);
    }
}

static void lowest_in_pieces(void **state)
{
    struct rng rng = {2};

    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        size_t n = 8 * (1 + rng_u64(&rng) % 200), k = rng_u64(&rng) % (n + 1), pruned = 0;
        float *score = malloc(n * sizeof *score);
        uint8_t *mask = calloc(prune_mask_bytes(n), 1), *want;
        AUTO(prune_tally_freep) struct prune_tally *t = prune_tally_new();
        struct prune_cut cut;

        draw(&rng, round % 5, n, score);
        want = sorted_mask(score, n, k);
        for (unsigned pass = 0; pass < 2; pass++) {
            for (size_t i = 0; i < n; i += 8)
                prune_tally_add(t, score + i, 8);
            if (pass == 0)
                prune_tally_pick(t, k);
        }
        cut = prune_tally_cut(t);
        for (size_t i = 0; i < n; i += 8)
            pruned += prune_mark(score + i, 8, &cut, mask + i / 8);
        assert_int_equal(pruned, k);
        assert_memory_equal(mask, want, prune_mask_bytes(n));
        free(want);
        free(mask);
        free(score);
    }
}

static void lowest_of_groups(void **state)
{
    struct rng rng = {3};

    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        unsigned m = 1 + (unsigned)(rng_u64(&rng) % 64);
        unsigned pruned = (unsigned)(rng_u64(&rng) % (m + 1));
        size_t n = 1 + rng_u64(&rng) % 300;
        float *score = malloc(n * sizeof *score);
        uint8_t *mask = calloc(prune_mask_bytes(n), 1);

        draw(&rng, round % 5, n, score);
        prune_lowest_of_groups(score, n, m, pruned, mask);
        for (size_t first = 0; first < n; first += m) {
            size_t len = n - first < m ? n - first : m;
            uint8_t *want = sorted_mask(score + first, len, len * pruned / m);

            for (size_t i = 0; i < len; i++)
                assert_int_equal(mask[(first + i) >> 3] >> ((first + i) & 7) & 1,
                                 want[i >> 3] >> (i & 7) & 1);
            free(want);
        }
        free(mask);
        free(score);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lowest_of_a_row),
        cmocka_unit_test(lowest_in_pieces),
        cmocka_unit_test(lowest_of_groups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
