/* test_tridiagonal.c: matrices side by side against LAPACK and against eigenvalues known in closed
 * form, for every instruction set the processor has. */
#include "compute/tridiagonal.c" /* its kernels are static */

#include "compute/lapack.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct kernel {
    const char *name;
    sweep_fn *sweep;
    bool there;
};

static const struct kernel *kernels(size_t *n)
{
    static struct kernel k[3];

    k[0] = (struct kernel){"generic", sweep_generic, true};
    *n = 1;
#if defined(__x86_64__)
    k[1] = (struct kernel){"avx2", sweep_avx2,
                           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")};
    k[2] =
        (struct kernel){"avx512", sweep_avx512,
                        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                            __builtin_cpu_supports("avx512vl")};
    *n = 3;
#endif
    return k;
}

/* `count` matrices of order n: diagonals in d, sub-diagonals in e, both n values a matrix. */
struct set {
    size_t n, count;
    double *d, *e;
};

static struct set set_new(size_t n, size_t count)
{
    return (struct set){n, count, calloc(n * count, sizeof(double)),
                        calloc(n * count, sizeof(double))};
}

static struct set set_copy(const struct set *s)
{
    struct set c = set_new(s->n, s->count);

    memcpy(c.d, s->d, s->n * s->count * sizeof *c.d);
    memcpy(c.e, s->e, s->n * s->count * sizeof *c.e);
    return c;
}

static void set_done(struct set *s)
{
    free(s->d);
    free(s->e);
}

static void assert_near(const char *kernel, const double *x, const double *y, size_t n,
                        double scale)
{
    for (size_t i = 0; i < n; i++) {
        if (fabs(x[i] - y[i]) <= 8 * DBL_EPSILON * sqrt((double)n + 4) * scale &&
            (i == 0 || x[i] >= x[i - 1]))
            continue;
        print_error("%s, order %zu, eigenvalue %zu: %.17g, not %.17g\n", kernel, n, i, x[i], y[i]);
        fail();
    }
}

/* Every kernel against LAPACK. */
static void check_set(const struct set *s)
{
    struct set want = set_copy(s);
    size_t n_kernels;
    const struct kernel *k = kernels(&n_kernels);

    for (size_t m = 0; m < s->count; m++)
        assert_int_equal(
            lapack_tridiagonal_eigenvalues(s->n, want.d + m * s->n, want.e + m * s->n, NULL), 0);
    for (size_t i = 0; i < n_kernels; i++) {
        struct set got;

        if (!k[i].there)
            continue;
        got = set_copy(s);
        assert_int_equal(solve_all(k[i].sweep, s->n, s->count, got.d, got.e, NULL), 0);
        for (size_t m = 0; m < s->count; m++) {
            const double *w = want.d + m * s->n;

            assert_near(k[i].name, got.d + m * s->n, w, s->n, fmax(fabs(w[0]), fabs(w[s->n - 1])));
        }
        set_done(&got);
    }
    set_done(&want);
}

enum kind { PLAIN, SPLIT, GRADED, TURNED, SEMIDEFINITE, KINDS };

/* Matrix m of the set, of that kind. */
static void fill(struct set *s, size_t m, enum kind kind)
{
    double *d = s->d + m * s->n, *e = s->e + m * s->n;
    double *g = gauss_matrix(17 * s->n + 5 * m + (size_t)kind, s->n, 2), x = 0;

    for (size_t i = 0; i < s->n; i++) {
        double grade = kind == GRADED   ? exp(-0.1 * (double)i)
                       : kind == TURNED ? exp(-0.1 * (double)(s->n - i))
                                        : 1;

        d[i] = g[2 * i] * grade;
        e[i] = i + 1 < s->n ? g[2 * i + 1] * grade : 0;
        if (kind == SPLIT && (i % 7 == 3 || i % 11 < 2))
            e[i] = 0;
        if (kind == SEMIDEFINITE) { /* L L', singular: the last row of L is zero */
            double a = i + 1 < s->n ? fabs(g[2 * i]) : 0, b = i ? x : 0;

            d[i] = a * a + b * b;
            x = i + 2 < s->n ? g[2 * i + 1] : 0;
            e[i] = a * x;
        }
    }
    free(g);
}

static void all_kinds(void **state)
{
    static const size_t order[] = {1, 2, 3, 4, 5, 16, 31, 100, 333};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        for (size_t count = 1; count <= 17; count += 4) {
            struct set s = set_new(order[i], count);

            for (size_t m = 0; m < count; m++)
                fill(&s, m, (enum kind)(m % KINDS));
            check_set(&s);
            for (size_t m = 0; m < count; m++)
                fill(&s, m, SEMIDEFINITE);
            check_set(&s);
            set_done(&s);
        }
}

/* -1 2 -1: 2 - 2 cos(k pi / (n + 1)). Some lanes zero, or diagonal. */
static void closed_form(void **state)
{
    enum { N = 200 };
    struct set s = set_new(N, 5);
    double want[N], none[N] = {0};

    (void)state;
    for (size_t i = 0; i < N; i++) {
        want[i] = 2 - 2 * cos((double)(i + 1) * M_PI / (N + 1));
        s.d[i] = s.d[2 * N + i] = 2;
        s.e[i] = s.e[2 * N + i] = -1;
        s.d[3 * N + i] = (double)(N - 1 - i);
    }
    assert_int_equal(tridiagonal_eigenvalues(N, 5, s.d, s.e, NULL), 0);
    assert_near("chosen", s.d, want, N, 4);
    assert_memory_equal(s.d, s.d + 2 * N, sizeof want);
    assert_memory_equal(s.d + N, none, sizeof none);
    assert_memory_equal(s.d + 4 * N, none, sizeof none);
    for (size_t i = 0; i < N; i++)
        assert_true(s.d[3 * N + i] == (double)i);
    set_done(&s);
}

/* Whoever works beside it, a matrix has the same eigenvalues to the bit. */
static void alone_as_together(void **state)
{
    enum { N = 150, COUNT = 11 };
    struct set all = set_new(N, COUNT), one;

    (void)state;
    for (size_t m = 0; m < COUNT; m++)
        fill(&all, m, (enum kind)(m % KINDS));
    one = set_copy(&all);
    assert_int_equal(tridiagonal_eigenvalues(N, COUNT, all.d, all.e, NULL), 0);
    for (size_t m = 0; m < COUNT; m++)
        assert_int_equal(tridiagonal_eigenvalues(N, 1, one.d + m * N, one.e + m * N, NULL), 0);
    assert_memory_equal(all.d, one.d, sizeof(double) * N * COUNT);
    set_done(&all);
    set_done(&one);
}

/* Scaled by powers of two, as far as symmetric.c lets them be. */
static void scales(void **state)
{
    enum { N = 60 };
    static const int exponent[] = {300, 100, -100, -300};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(exponent); i++) {
        struct set s = set_new(N, KINDS);

        for (size_t m = 0; m < KINDS; m++)
            fill(&s, m, (enum kind)m);
        for (size_t j = 0; j < N * KINDS; j++) {
            s.d[j] = ldexp(s.d[j], exponent[i]);
            s.e[j] = ldexp(s.e[j], exponent[i]);
        }
        check_set(&s);
        set_done(&s);
    }
}

/* A bug before it must not run for ever. */
static void not_a_number(void **state)
{
    struct set s = set_new(20, 2);
    struct err err = {0};

    (void)state;
    fill(&s, 0, PLAIN);
    fill(&s, 1, PLAIN);
    s.e[25] = NAN;
    assert_int_equal(tridiagonal_eigenvalues(20, 2, s.d, s.e, &err), ERR_NUMERIC);
    assert_true(strstr(err.text, "converge") != NULL);
    set_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kinds),         cmocka_unit_test(closed_form),
        cmocka_unit_test(alone_as_together), cmocka_unit_test(scales),
        cmocka_unit_test(not_a_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
