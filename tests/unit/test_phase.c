/* test_phase.c: rules and distances on evidence made by hand; random matrices of every phase. The
 * long form of the latter is tests/bench/phases.c. */
#include "phase_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* --- by hand --------------------------------------------------------------------------------- */

/* 100 eigenvalues, noise: the edge at 10, the far edge at 10.5, the largest at 9. */
static struct mp_fit noise_fit(void)
{
    return (struct mp_fit){.method = MP_FIT_ROBUST,
                           .edge = 10,
                           .far_edge = 10.5,
                           .bulk_max = 9.5,
                           .softrank = 9.5 / 9,
                           .noise_share = 1,
                           .distance = 0.03,
                           .num_bulk = 100};
}

static struct phase_input input_of(const struct mp_fit *mp, double largest)
{
    return (struct phase_input){.n = 100,
                                .n_matrices = 1,
                                .largest = largest,
                                .mp = mp,
                                .alpha = 3,
                                .D = 0.12,
                                .n_tail = 40,
                                .null_largest = NAN};
}

static struct phase classify(const struct phase_input *in)
{
    struct phase p;

    assert_int_equal(phase_classify(in, NULL, &p, NULL), 0);
    return p;
}

static void spikes(struct mp_fit *mp, size_t above, size_t far)
{
    mp->num_bulk = mp->num_bulk + mp->num_spikes - above;
    mp->num_spikes = above;
    mp->num_far = far;
}

static void assert_kind(const struct phase_input *in, enum phase_kind kind)
{
    struct phase p = classify(in);

    if (p.kind != kind)
        fail_msg("%s, not %s", phase_name(p.kind), phase_name(kind));
}

static void rules(void **state)
{
    struct mp_fit mp = noise_fit();
    struct phase_input in = input_of(&mp, 9);

    (void)state;
    assert_kind(&in, PHASE_RANDOM_LIKE);
    mp.distance = 0.13; /* nothing beyond the edge, but no Marchenko-Pastur bulk either */
    assert_kind(&in, PHASE_BULK_DECAY);
    in.n_matrices = 4; /* their fluctuations add up */
    assert_kind(&in, PHASE_RANDOM_LIKE);
    in.n_matrices = 1;
    in.D = 0.05;
    assert_kind(&in, PHASE_HEAVY_TAILED);
    in.D = 0.12;
    mp = noise_fit();
    in.largest = 10.2;
    spikes(&mp, 1, 0);
    assert_kind(&in, PHASE_BLEEDING_OUT);
    in.largest = 30;
    spikes(&mp, 5, 5);
    assert_kind(&in, PHASE_BULK_SPIKES);
    in.null_largest = 29; /* shuffled copies have it too */
    assert_kind(&in, PHASE_ELEMENT_TRAP);
    in.null_largest = 10;
    assert_kind(&in, PHASE_BULK_SPIKES);
    in.null_largest = NAN;
    spikes(&mp, 5, 4);
    assert_kind(&in, PHASE_BULK_DECAY);
    spikes(&mp, 9, 9);
    assert_kind(&in, PHASE_BULK_DECAY);
    in.D = 0.05; /* ln 3 / ln 9 = 0.5 */
    in.largest = 30.01;
    assert_kind(&in, PHASE_HEAVY_TAILED);
    in.largest = 29.99;
    assert_kind(&in, PHASE_BULK_DECAY);
    in.D = NAN; /* no power law: not heavy-tailed */
    in.largest = 300;
    assert_kind(&in, PHASE_BULK_DECAY);
    mp.num_zero = 5;
    assert_kind(&in, PHASE_RANK_COLLAPSE);
    in.n = 9;
    assert_kind(&in, PHASE_INSUFFICIENT);
    in.n = 100;
    in.largest = 0;
    assert_kind(&in, PHASE_DEGENERATE);
    in.largest = 1;
    in.mp = NULL;
    assert_kind(&in, PHASE_INSUFFICIENT);
}

/* 4000 eigenvalues: what is a share of them, not a number, decides. */
static void rules_for_many(void **state)
{
    struct mp_fit mp = noise_fit();
    struct phase_input in = input_of(&mp, 9);

    (void)state;
    in.n = mp.num_bulk = 4000;
    in.D = 0.05;
    mp.distance = 0.0099; /* 40 of them */
    assert_kind(&in, PHASE_RANDOM_LIKE);
    in.largest = 10.29; /* beyond the far edge, which is at 10.01 */
    mp.far_edge = 10.01;
    spikes(&mp, 3, 2);
    assert_kind(&in, PHASE_BLEEDING_OUT);
    in.largest = 10.31;
    assert_kind(&in, PHASE_BULK_SPIKES);
    in.largest = 30;
    spikes(&mp, 10, 4); /* six just above the edge are 0.0015 of all */
    assert_kind(&in, PHASE_BULK_SPIKES);
    spikes(&mp, 10, 3);
    assert_kind(&in, PHASE_BULK_DECAY);
    spikes(&mp, 10, 10);
    mp.distance = 0.0101;
    assert_kind(&in, PHASE_BULK_DECAY);
    mp.distance = 0.099; /* far from the law, but there is a bulk */
    assert_kind(&in, PHASE_BULK_DECAY);
    mp.distance = 0.101;
    assert_kind(&in, PHASE_HEAVY_TAILED);
    in.D = 0.12;
    assert_kind(&in, PHASE_BULK_DECAY);
}

/* Misfit and distance are one thing: with either alone the bulk would still fit. */
static void twins_change_together(void **state)
{
    struct mp_fit mp = noise_fit();
    struct phase_input in = input_of(&mp, 40);
    struct phase p;

    (void)state;
    in.n = 1000;
    mp.num_bulk = 1000;
    mp.distance = 0.0099; /* 9.9 of them: both hold until there are 12 */
    spikes(&mp, 10, 10);
    p = classify(&in);
    assert_int_equal(p.kind, PHASE_BULK_SPIKES);
    assert_int_equal(p.next_quantity, PHASE_FAR_SHARE); /* 1 is 0.05 from 0.95, but 0.18 … */
    assert_true(fabs(p.next_threshold - (1 - 0.0015 / 0.01)) < 1e-12);
    assert_true(fabs(p.next_distance - 0.15 / 0.85) < 1e-12); /* … from where it ends */
    mp.distance = 0.0115;
    p = classify(&in);
    assert_int_equal(p.next_quantity, PHASE_MISFIT);
    assert_true(p.next_threshold == 12 && p.next_kind == PHASE_BULK_DECAY);
    mp.distance = 0.0125;
    p = classify(&in);
    assert_int_equal(p.kind, PHASE_BULK_DECAY);
    assert_int_equal(p.next_quantity, PHASE_MISFIT);
    assert_int_equal(p.next_kind, PHASE_BULK_SPIKES);
    mp.distance = 0.098;
    in.D = 0.05;
    p = classify(&in);
    assert_int_equal(p.next_quantity, PHASE_DISTANCE);
    assert_true(p.next_threshold == 0.1 && p.next_kind == PHASE_HEAVY_TAILED);
}

/* The nearest threshold is the one that, moved a little more, makes another phase. */
static void the_next_phase(void **state)
{
    struct mp_fit mp = noise_fit();
    struct phase_input in = input_of(&mp, 9.9);
    struct phase p = classify(&in);

    (void)state;
    assert_int_equal(p.next_quantity, PHASE_EXCESS);
    assert_true(p.next_threshold == 1 && fabs(p.next_distance - 0.01) < 1e-12);
    assert_int_equal(p.next_kind, PHASE_BLEEDING_OUT);
    assert_true(isnan(p.evidence[PHASE_NULL_RATIO]) && isnan(p.evidence[PHASE_REACH]));
    in.largest = 40;
    spikes(&mp, 4, 4); /* a share of 0.04 is 0.25 from 0.05 and 0.5 from 0.08 */
    p = classify(&in);
    assert_int_equal(p.kind, PHASE_BULK_SPIKES);
    assert_int_equal(p.next_quantity, PHASE_FAR_SHARE);
    assert_true(fabs(p.next_distance - 0.05 / 0.95) < 1e-12);
    assert_int_equal(p.next_kind, PHASE_BULK_DECAY);
    in.D = 0.0899;
    p = classify(&in);
    assert_int_equal(p.next_quantity, PHASE_FAR_SHARE); /* D alone changes nothing */
    spikes(&mp, 6, 6);
    p = classify(&in);
    assert_int_equal(p.kind, PHASE_HEAVY_TAILED);
    assert_int_equal(p.next_quantity, PHASE_D);
    assert_int_equal(p.next_kind, PHASE_BULK_SPIKES);
    in.mp = NULL;
    p = classify(&in);
    assert_true(isinf(p.next_distance) && p.next_kind == PHASE_INSUFFICIENT);
}

static void thresholds_are_the_callers(void **state)
{
    struct phase_thresholds t = phase_thresholds(), bad;
    struct mp_fit mp = noise_fit();
    struct phase_input in = input_of(&mp, 40);
    struct phase p;

    (void)state;
    spikes(&mp, 9, 9);
    in.D = 0.11;
    assert_kind(&in, PHASE_BULK_DECAY);
    t.spike_share = 0.1;
    assert_int_equal(phase_classify(&in, &t, &p, NULL), 0);
    assert_int_equal(p.kind, PHASE_BULK_SPIKES);
    t.heavy_D = 0.11;
    assert_int_equal(phase_classify(&in, &t, &p, NULL), 0);
    assert_int_equal(p.kind, PHASE_HEAVY_TAILED);
    bad = t;
    bad.misfit = NAN;
    assert_int_equal(phase_classify(&in, &bad, &p, NULL), ERR_INVALID);
    bad = t;
    bad.spike_share = 0;
    assert_int_equal(phase_classify(&in, &bad, &p, NULL), ERR_INVALID);
    in.largest = NAN;
    assert_int_equal(phase_classify(&in, &t, &p, NULL), ERR_INVALID);
    in.largest = -1;
    assert_int_equal(phase_classify(&in, &t, &p, NULL), ERR_INVALID);
    in.largest = 1;
    in.n_matrices = 0;
    assert_int_equal(phase_classify(&in, &t, &p, NULL), ERR_INVALID);
    in.n_matrices = 1;
    mp.method = MP_FIT_UPSTREAM;
    assert_int_equal(phase_classify(&in, &t, &p, NULL), ERR_INVALID);
}

static void names(void **state)
{
    (void)state;
    for (int k = 0; k < PHASE_COUNT; k++)
        assert_non_null(phase_name((enum phase_kind)k));
    for (int q = 0; q < PHASE_QUANTITIES; q++)
        assert_non_null(phase_quantity_name((enum phase_quantity)q));
    assert_null(phase_name(PHASE_COUNT));
    assert_null(phase_quantity_name(PHASE_QUANTITIES));
    assert_string_equal(phase_name(PHASE_BULK_SPIKES), "bulk_spikes");
    assert_string_equal(phase_quantity_name(PHASE_REACH), "reach");
}

static void confidence(void **state)
{
    struct mp_fit mp = noise_fit();
    struct phase_input in = input_of(&mp, 40);
    struct phase_confidence c = phase_confidence(&in);

    (void)state;
    assert_true(c.signal == 0 && c.confidence == 0); /* noise fits to an exponent, too */
    spikes(&mp, 20, 20);
    c = phase_confidence(&in);
    assert_true(fabs(c.size - 40. / 60) < 1e-15 && fabs(c.fit - 0.3) < 1e-12 && c.signal == 0.5);
    assert_true(fabs(c.confidence - 0.1) < 1e-12);
    in.D = 0.04;
    spikes(&mp, 60, 60);
    c = phase_confidence(&in);
    assert_true(c.fit == 1 && c.signal == 1 && c.confidence == c.size);
    spikes(&mp, 0, 0);
    mp.distance = 0.18; /* in units of noise: 18; no bulk to be above of */
    c = phase_confidence(&in);
    assert_true(fabs(c.signal - 0.5) < 1e-12);
    mp.distance = 0.3;
    assert_true(phase_confidence(&in).signal == 1);
    mp.num_bulk = 10000; /* 500 of them, but a bulk there is */
    mp.distance = 0.05;
    assert_true(phase_confidence(&in).signal == 0);
    mp.distance = 0.075;
    assert_true(fabs(phase_confidence(&in).signal - 0.5) < 1e-12);
    mp.num_bulk = 100;
    mp.distance = 0.3;
    in.n_matrices = 9;
    assert_true(phase_confidence(&in).signal == 0);
    in.n_matrices = 1;
    in.D = 0.2;
    assert_true(phase_confidence(&in).confidence == 0);
    in.D = NAN;
    assert_true(phase_confidence(&in).confidence == 0);
    in.D = 0.04;
    in.mp = NULL;
    assert_true(phase_confidence(&in).confidence == 0);
}

/* --- random matrices ------------------------------------------------------------------------- */

/* The bidiagonal model against matrices: mean and standard deviation of the largest and of the
 * smallest eigenvalue, over 400 of 24 x 12 each. */
static void noise_without_a_matrix(void **state)
{
    const struct recipe matrix = {.kind = RECIPE_SPIKES}; /* none of them */
    double sum[2][2] = {{0}}, squares[2][2] = {{0}}, lambda[12], unused, trace = 0;
    struct random r;

    (void)state;
    random_init(&r, 1, 0);
    for (int model = 0; model < 2; model++)
        for (int k = 0; k < 400; k++) {
            if (model)
                make_spectrum(&r, &matrix, 24, 12, 0, lambda, &unused);
            else
                noise_spectrum(&r, 24, 12, lambda);
            for (int end = 0; end < 2; end++) {
                double x = sqrt(lambda[end ? 11 : 0]);

                sum[model][end] += x / 400;
                squares[model][end] += x * x / 400;
            }
            for (int i = 0; i < 12; i++)
                trace += model ? 0 : lambda[i] / 400;
        }
    assert_true(fabs(trace - 24 * 12) < 6); /* sd 1.2 */
    for (int end = 0; end < 2; end++) {
        double sd[2];

        for (int m = 0; m < 2; m++)
            sd[m] = sqrt(squares[m][end] - sum[m][end] * sum[m][end]);
        /* Four standard errors of the difference; of a standard deviation it is 1/sqrt 2 of that.
         */
        assert_true(fabs(sum[0][end] - sum[1][end]) < 4 * sd[0] * sqrt(2. / 400));
        assert_true(fabs(sd[0] / sd[1] - 1) < 4 / sqrt(400.));
    }
}

static enum phase_kind of_recipe(struct random *r, const struct recipe *k, size_t rows, size_t n,
                                 unsigned copies, double *confidence)
{
    double *lambda = malloc(n * sizeof *lambda), null_largest;
    struct phase_input in;
    struct mp_fit mp;
    struct phase p;

    make_spectrum(r, k, rows, n, copies, lambda, &null_largest);
    make_input(lambda, rows, n, null_largest, &mp, &in);
    p = classify(&in);
    *confidence = phase_confidence(&in).confidence;
    free(lambda);
    return p.kind;
}

/* 1000 matrices of ten shapes. */
static void noise_is_noise(void **state)
{
    static const size_t shape[10][2] = {{16, 16},    {48, 32},   {64, 64},   {400, 64},
                                        {100, 96},   {128, 128}, {512, 128}, {240, 160},
                                        {1600, 200}, {256, 256}};
    unsigned right = 0, random_like = 0, sure = 0;
    struct random r;

    (void)state;
    random_init(&r, 2, 0);
    for (int k = 0; k < 1000; k++) {
        double sureness;
        enum phase_kind kind =
            of_recipe(&r, &recipes[0], shape[k % 10][0], shape[k % 10][1], 0, &sureness);

        random_like += kind == PHASE_RANDOM_LIKE;
        right += kind == PHASE_RANDOM_LIKE || kind == PHASE_BLEEDING_OUT;
        sure += sureness > 0.05;
    }
    assert_true(right >= 990 && random_like >= 985 && sure <= 5);
}

/* Every recipe that is not on a border, at one size: nine of ten are what they were made to be. */
static void phases_are_found(void **state)
{
    static const char *const sure[] = {"gaussian",   "uniform",       "weak spike", "1-3 spikes",
                                       "3 % spikes", "strong spikes", "heavy 1.5",  "heavy 2",
                                       "levels 2.2", "student 1.5",   "shifted",    "few elements",
                                       "low rank",   "dead columns"};
    struct random r;

    (void)state;
    random_init(&r, 3, 0);
    for (size_t i = 0; i < RECIPES; i++) {
        unsigned right = 0;
        bool asked = false;
        double c;

        for (size_t s = 0; s < sizeof sure / sizeof *sure; s++)
            asked = asked || strcmp(sure[s], recipes[i].name) == 0;
        for (int k = 0; asked && k < 10; k++)
            right += (recipes[i].right & BIT(of_recipe(&r, &recipes[i], 256, 128, 1, &c))) != 0;
        if (asked && right < 9)
            fail_msg("%s: %u of 10", recipes[i].name, right);
    }
}

/* Sizes that no threshold was set on: noise stays noise, and a decay does not become a heavy tail
 * because so many eigenvalues tell its bulk from noise. */
static void large_matrices(void **state)
{
    static const size_t noise[][2] = {{2048, 2048}, {8192, 1024}, {11008, 4096}};
    unsigned decay = 0, heavy = 0;
    struct random r;
    double c;

    (void)state;
    random_init(&r, 4, 0);
    for (size_t i = 0; i < ARRAY_LEN(noise); i++) {
        enum phase_kind kind = of_recipe(&r, &recipes[0], noise[i][0], noise[i][1], 0, &c);

        assert_true((kind == PHASE_RANDOM_LIKE || kind == PHASE_BLEEDING_OUT) && c == 0);
    }
    for (size_t i = 0; i < RECIPES; i++) {
        if (strcmp(recipes[i].name, "exponential") == 0)
            decay += of_recipe(&r, &recipes[i], 1024, 1024, 0, &c) == PHASE_BULK_DECAY;
        if (strcmp(recipes[i].name, "heavy 2") == 0)
            heavy += of_recipe(&r, &recipes[i], 1024, 1024, 0, &c) == PHASE_HEAVY_TAILED;
    }
    assert_true(decay == 1 && heavy == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules),
        cmocka_unit_test(rules_for_many),
        cmocka_unit_test(twins_change_together),
        cmocka_unit_test(the_next_phase),
        cmocka_unit_test(thresholds_are_the_callers),
        cmocka_unit_test(names),
        cmocka_unit_test(confidence),
        cmocka_unit_test(noise_without_a_matrix),
        cmocka_unit_test(noise_is_noise),
        cmocka_unit_test(phases_are_found),
        cmocka_unit_test(large_matrices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
