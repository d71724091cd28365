/* tail_fixture.h: samples for tests of tails: published ones, and ones drawn here. */
#ifndef SPECTRALD_TEST_TAIL_FIXTURE_H
#define SPECTRALD_TEST_TAIL_FIXTURE_H

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compute/random.h"

static inline int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* A JSON array's numbers, sorted; the caller frees them. */
static inline double *sorted_array(const json_t *a, size_t *n)
{
    double *x;

    *n = json_array_size(a);
    x = malloc((*n ? *n : 1) * sizeof *x);
    for (size_t i = 0; i < *n; i++)
        x[i] = json_number_value(json_array_get(a, i));
    qsort(x, *n, sizeof *x, ascending);
    return x;
}

/* powerlaw 1.5's results for seven samples. */
static inline json_t *powerlaw_tails(void)
{
    return json_load_file(TEST_DATA "/powerlaw_tails.json", 0, NULL);
}

static inline double number_at(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return json_is_number(v) ? json_number_value(v) : NAN;
}

static inline bool near(double got, double want, double relative)
{
    return fabs(got - want) <= relative * fabs(want);
}

enum sample {
    SAMPLE_POWER_LAW,   /* alpha 2.5 from 1 */
    SAMPLE_VERY_HEAVY,  /* alpha 1.3 from 1e-3 */
    SAMPLE_TRUNCATED,   /* alpha 1.5, Lambda 0.01, from 1 */
    SAMPLE_LOGNORMAL,   /* mu 0, sigma 1 */
    SAMPLE_EXPONENTIAL, /* mean 1 */
    SAMPLE_UNIFORM,
    SAMPLE_MIXED, /* a bulk in (0.1, 2), a tail with alpha 2.8 above */
    SAMPLE_TIES,  /* a power law rounded to halves */
    SAMPLE_COUNT
};

static inline double draw(struct random *r, enum sample kind, size_t i)
{
    double u = random_uniform_positive(r), x;

    switch (kind) {
    case SAMPLE_POWER_LAW:
        return pow(u, -1 / 1.5);
    case SAMPLE_VERY_HEAVY:
        return 1e-3 * pow(u, -1 / 0.3);
    case SAMPLE_TRUNCATED: /* thin out a power law */
        do
            x = pow(random_uniform_positive(r), -1 / 0.5);
        while (random_uniform(r) > exp(-0.01 * (x - 1)));
        return x;
    case SAMPLE_LOGNORMAL:
        return exp(random_normal(r));
    case SAMPLE_EXPONENTIAL:
        return -log(u) + 1e-9;
    case SAMPLE_UNIFORM:
        return u;
    case SAMPLE_MIXED:
        return i % 3 ? 0.1 + 1.9 * u : 2 * pow(u, -1 / 1.8);
    case SAMPLE_TIES:
        return round(2 * pow(u, -1 / 1.2)) / 2;
    default:
        return 1;
    }
}

/* n sorted values; the caller frees them. */
static inline double *sample_new(enum sample kind, size_t n, uint64_t seed)
{
    double *x = malloc((n ? n : 1) * sizeof *x);
    struct random r;

    random_init(&r, seed, (uint64_t)kind);
    for (size_t i = 0; i < n; i++)
        x[i] = draw(&r, kind, i);
    qsort(x, n, sizeof *x, ascending);
    return x;
}

#endif
