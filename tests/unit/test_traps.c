/* test_traps.c: traps planted where we know, and every measure against the trap formed whole. */
#include "compute/random.h"
#include "compute/randomize.h"
#include "compute/trap_measures.h"
#include "compute/traps.h"

#include "golden_matrices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int descending(const void *a, const void *b)
{
    return compare_doubles(b, a);
}

/* Fit the shuffled spectrum, then find its traps. */
static size_t find(const double *w, size_t rows, size_t cols, uint64_t seed, struct trap *out,
                   struct traps_options *opt)
{
    size_t n = rows < cols ? rows : cols, count;
    struct memory_matrix mm = {w, rows, cols};
    struct matrix_source src = memory_source(&mm);
    struct randomize_options ro = {.seed = seed, .replicas = 1, .scale = 1};
    struct mp_fit_options mp = {0};
    double *null = malloc(n * sizeof *null), *work = malloc(n * sizeof *work);
    struct mp_fit f;

    assert_int_equal(randomize_spectra(&src, 1, &ro, null, NULL), 0);
    assert_int_equal(mp_fit(null, n, rows < cols ? cols : rows, n, &mp, work, &f, NULL), 0);
    *opt = (struct traps_options){
        .seed = seed, .bulk_max = f.bulk_max, .edge = f.edge, .max = TRAPS_MAX};
    assert_int_equal(traps_find(&src, rows >= cols, opt, out, &count, NULL), 0);
    assert_int_equal(count, f.num_spikes);
    for (size_t k = 0; k < count; k++)
        assert_true(fabs(out[k].lambda / null[n - 1 - k] - 1) < 1e-12);
    free(null);
    free(work);
    return count;
}

/* Two huge weights: two traps, each with its weight first, in tall and in wide matrices. */
static void localised(void **state)
{
    static const size_t shape[][2] = {{200, 120}, {120, 200}, {90, 90}};

    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(shape); t++) {
        size_t rows = shape[t][0], cols = shape[t][1], count;
        double *w = gauss_matrix(17, rows, cols);
        struct traps_options opt;
        struct trap trap[TRAPS_MAX];

        w[11 * cols + 7] = 90;
        w[70 * cols + 33] = -60;
        count = find(w, rows, cols, 3 + t, trap, &opt);
        assert_int_equal(count, 2);
        assert_true(trap[0].entry[0].row == 11 && trap[0].entry[0].column == 7);
        assert_true(trap[0].entry[0].weight == 90);
        assert_true(fabs(trap[0].entry[0].component - 90) < 5 && trap[0].entry[0].share > 0.02);
        assert_true(trap[1].entry[0].row == 70 && trap[1].entry[0].column == 33);
        assert_true(trap[1].entry[0].weight == -60 && trap[1].entry[0].component < -50);
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(trap[k].label, TRAP_LOCALIZED_RISKY);
            assert_true(trap[k].risk == 1 && trap[k].q > 0.5 && trap[k].delta > 3);
            assert_true(trap[k].top_5_mass > 0.25 && trap[k].top_10_mass > trap[k].top_5_mass);
            assert_true(trap[k].left.gini > 0.5 && trap[k].right.top > 0.05);
        }
        free(w);
    }
}

/* A mean is a diffuse trap: all weights carry it alike. */
static void diffuse(void **state)
{
    double *w = gauss_matrix(18, 200, 120);
    struct traps_options opt;
    struct trap trap[TRAPS_MAX];

    (void)state;
    for (size_t i = 0; i < 200 * 120; i++)
        w[i] += 0.25;
    assert_int_equal(find(w, 200, 120, 1, trap, &opt), 1);
    assert_true(trap[0].q < 0.01 && trap[0].left.support > 0.5 && trap[0].diffuseness > 0.55);
    assert_true(trap[0].entry[0].share < 1e-3);
    assert_true(fabs(trap[0].share - 1836. / 25500) < 0.005);
    free(w);
}

/* Vectors as even and as uneven as can be, a random one, and the verdict on them. */
static void verdicts(void **state)
{
    double even[1000], one[1000] = {1}, noise[1000];
    struct trap_vector e, o, r;
    struct trap t = {.delta = 2};
    struct random random;

    (void)state;
    random_init(&random, 1, 0);
    for (int i = 0; i < 1000; i++) {
        even[i] = 0.3;
        noise[i] = fabs(random_normal(&random));
    }
    qsort(noise, 1000, sizeof *noise, descending);
    e = trap_vector_of(even, 1000);
    o = trap_vector_of(one, 1000);
    r = trap_vector_of(noise, 1000);
    assert_true(fabs(e.support - 1) < 1e-9 && fabs(e.entropy - 1) < 1e-9 && e.q == 0);
    assert_true(fabs(e.gini) < 1e-9 && fabs(e.top - 1e-3) < 1e-9);
    assert_true(o.ipr == 1 && o.q == 1 && o.entropy == 0 && o.top == 1);
    assert_true(fabs(o.support - 1e-3) < 1e-9 && fabs(o.gini - 0.999) < 1e-9);
    assert_true(fabs(r.ipr * 1002 / 3 - 1) < 0.2 && r.q < 0.001);
    assert_true(fabs(r.gini - (sqrt(2) - 1)) < 0.02); /* of half-normal numbers */
    t.left = t.right = e;
    trap_assess(&t, false);
    assert_true(fabs(t.diffuseness - (1 - 0.2 - 0.3e-3)) < 1e-6);
    assert_int_equal(t.label, TRAP_BENIGN_DIFFUSE);
    t.delta = 3;
    trap_assess(&t, false);
    assert_int_equal(t.label, TRAP_DIFFUSE_RISKY);
    trap_assess(&t, true);
    assert_int_equal(t.label, TRAP_LOCALIZED_RISKY);
    t.delta = 0.3;
    t.q = 1;
    t.left = t.right = o;
    trap_assess(&t, false);
    assert_true(t.diffuseness == 0 && fabs(t.risk - 0.3) < 1e-12);
    assert_int_equal(t.label, TRAP_MIXED);
    t.delta = 1; /* as even as noise, which is less than 0.55 */
    t.q = 0;
    t.left = t.right = r;
    trap_assess(&t, false);
    assert_true(t.risk > 0.5 && t.diffuseness < 0.55);
    assert_int_equal(t.label, TRAP_DIFFUSE_RISKY);
    trap_assess(&t, true);
    assert_int_equal(t.label, TRAP_LOCALIZED_RISKY);
}

/* The trap of a small matrix, formed whole by power iteration on the shuffled matrix and put back
 * by a shuffle of numbers. */
static void formed_whole(void **state)
{
    enum { ROWS = 40, COLS = 25, N = ROWS * COLS };
    double *w = gauss_matrix(19, ROWS, COLS), number[N], x[N], u[ROWS] = {0}, v[COLS], t[N], a[N],
           total = 0, five = 0, ten = 0, fourth = 0, sigma = 0;
    struct memory_matrix mw = {w, ROWS, COLS}, mn = {number, ROWS, COLS};
    struct matrix_source sw = memory_source(&mw), sn = memory_source(&mn);
    struct shuffled *shuffled, *origin;
    struct traps_options opt;
    struct trap trap[TRAPS_MAX];

    (void)state;
    w[333] = 15;
    assert_int_equal(find(w, ROWS, COLS, 8, trap, &opt), 1);
    for (int i = 0; i < N; i++)
        number[i] = i;
    assert_int_equal(shuffled_new(&sw, PRECISION_DOUBLE, &shuffled, NULL), 0);
    assert_int_equal(shuffled_new(&sn, PRECISION_DOUBLE, &origin, NULL), 0);
    shuffled_shuffle(shuffled, 8, 0);
    shuffled_shuffle(origin, 8, 0);
    for (int i = 0; i < N; i++) {
        x[i] = shuffled_element(shuffled, (size_t)i);
        assert_true(x[i] == w[(int)shuffled_element(origin, (size_t)i)]);
    }
    for (int j = 0; j < COLS; j++)
        v[j] = 1 + 0.1 * j;
    for (int k = 0; k < 500; k++) {
        double norm = 0;

        for (int i = 0; i < ROWS; i++) {
            u[i] = 0;
            for (int j = 0; j < COLS; j++)
                u[i] += x[i * COLS + j] * v[j];
        }
        for (int j = 0; j < COLS; j++) {
            v[j] = 0;
            for (int i = 0; i < ROWS; i++)
                v[j] += x[i * COLS + j] * u[i];
            norm += v[j] * v[j];
        }
        for (int j = 0; j < COLS; j++)
            v[j] /= sqrt(norm);
    }
    for (int i = 0; i < ROWS; i++) { /* u = sigma times the unit vector */
        u[i] = 0;
        for (int j = 0; j < COLS; j++)
            u[i] += x[i * COLS + j] * v[j];
        sigma += u[i] * u[i];
    }
    for (int i = 0; i < N; i++) {
        double value = u[i / COLS] * v[i % COLS];

        t[(int)shuffled_element(origin, (size_t)i)] = value;
        a[i] = fabs(value);
        total += a[i];
    }
    qsort(a, N, sizeof *a, descending);
    for (int i = 0; i < N / 10; i++) {
        ten += a[i] / total;
        five += i < N / 20 ? a[i] / total : 0;
    }
    for (int j = 0; j < COLS; j++)
        fourth += pow(v[j], 4);
    assert_true(fabs(trap[0].lambda / sigma - 1) < 1e-10);
    assert_true(fabs(trap[0].right.ipr - fourth) < 1e-9);
    assert_true(fabs(trap[0].top_5_mass - five) < 1e-9 && fabs(trap[0].top_10_mass - ten) < 1e-9);
    assert_int_equal(trap[0].n_entries, TRAP_ENTRIES);
    for (size_t k = 0; k < TRAP_ENTRIES; k++) {
        const struct trap_entry *e = &trap[0].entry[k];
        size_t at = e->row * COLS + e->column;

        assert_true(fabs(e->component - t[at]) < 1e-8 && e->weight == w[at]);
        assert_true(fabs(fabs(e->component) - a[k]) < 1e-8);
        assert_true(fabs(e->share - a[k] / total) < 1e-9);
    }
    shuffled_free(shuffled);
    shuffled_free(origin);
    free(w);
}

/* Noise has none; the same seed gives the same bytes; single precision nearly the same. */
static void repeats(void **state)
{
    double *w = gauss_matrix(20, 100, 100);
    struct memory_matrix mm = {w, 100, 100};
    struct matrix_source src = memory_source(&mm);
    struct traps_options opt;
    struct trap a[TRAPS_MAX], b[TRAPS_MAX];
    size_t count;

    (void)state;
    assert_int_equal(find(w, 100, 100, 5, a, &opt), 0);
    w[5000] = 70;
    assert_int_equal(find(w, 100, 100, 5, a, &opt), 1);
    assert_int_equal(traps_find(&src, true, &opt, b, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_memory_equal(&a[0], &b[0], sizeof a[0]);
    opt.keep = PRECISION_SINGLE;
    opt.max = 1;
    assert_int_equal(traps_find(&src, true, &opt, b, &count, NULL), 0);
    assert_true(count == 1 && fabs(b[0].lambda / a[0].lambda - 1) < 1e-6);
    assert_true(b[0].entry[0].row == 50 && b[0].entry[0].column == 0);
    free(w);
}

static void refused(void **state)
{
    double w[6] = {1, 2, 3, 4, 5, 6};
    struct memory_matrix mm = {w, 3, 2};
    struct matrix_source src = memory_source(&mm);
    struct traps_options good = {.bulk_max = 1, .edge = 2, .max = 2}, bad = good;
    struct trap out[TRAPS_MAX];
    size_t count, at = 0, origin;

    (void)state;
    assert_int_equal(traps_find(&src, true, &good, out, &count, NULL), 0);
    bad.max = TRAPS_MAX + 1;
    assert_int_equal(traps_find(&src, true, &bad, out, &count, NULL), ERR_INVALID);
    bad = good;
    bad.bulk_max = 0;
    assert_int_equal(traps_find(&src, true, &bad, out, &count, NULL), ERR_INVALID);
    bad = good;
    bad.edge = NAN;
    assert_int_equal(traps_find(&src, true, &bad, out, &count, NULL), ERR_INVALID);
    w[2] = NAN;
    assert_int_equal(traps_find(&src, true, &good, out, &count, NULL), ERR_NUMERIC);
    assert_int_equal(shuffled_origins((size_t)1 << 33, 0, 0, &at, 1, &origin, NULL), ERR_LIMIT);
    assert_string_equal(trap_label_name(TRAP_BENIGN_DIFFUSE), "benign_diffuse");
    assert_null(trap_label_name(TRAP_LABEL_COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(localised),    cmocka_unit_test(diffuse), cmocka_unit_test(verdicts),
        cmocka_unit_test(formed_whole), cmocka_unit_test(repeats), cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
