/* magnitude_fixture.h: tensors of every float format, with their weights sorted by |w|. */
#ifndef SPECTRALD_TEST_MAGNITUDE_FIXTURE_H
#define SPECTRALD_TEST_MAGNITUDE_FIXTURE_H

#include "compute/magnitude.h"

#include "golden.h"

struct tensor {
    enum magnitude_format format;
    size_t n;
    void *bytes;
    double *sorted; /* |w| as stored, ascending */
};

static inline int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The nearest f16, and its value. */
static inline double half_of(double x, uint16_t *bits)
{
    int e = x == 0 || ilogb(x) < -14 ? -14 : ilogb(x);
    double q = nearbyint(ldexp(fabs(x), 10 - e)), v = ldexp(q, e - 10);

    if (!isfinite(x)) {
        *bits = isnan(x) ? 0x7e00 : 0x7c00;
        v = fabs(x);
    } else {
        *bits = (uint16_t)(((e + 14) << 10) + (int)q);
    }
    *bits |= signbit(x) ? 0x8000 : 0;
    return copysign(v, x);
}

/* Store one value, and read back what it became. */
static inline double tensor_store(enum magnitude_format f, double x, uint8_t *p)
{
    float single = (float)x;
    uint16_t half;
    uint32_t bits;

    switch (f) {
    case MAGNITUDE_F16:
        x = half_of(x, &half);
        memcpy(p, &half, 2);
        return x;
    case MAGNITUDE_BF16:
        memcpy(&bits, &single, 4);
        bits = isnan(single) ? bits | 0x400000 : bits; /* cut off, not rounded */
        memcpy(p, (uint8_t *)&bits + 2, 2);
        bits &= 0xffff0000u;
        memcpy(&single, &bits, 4);
        return single;
    case MAGNITUDE_F32:
        memcpy(p, &single, 4);
        return single;
    default:
        memcpy(p, &x, 8);
        return x;
    }
}

static inline struct tensor tensor_of(enum magnitude_format f, const double *v, size_t n)
{
    struct tensor t = {.format = f, .n = n};

    t.bytes = malloc(n * magnitude_width(f));
    t.sorted = malloc(n * sizeof *t.sorted);
    for (size_t i = 0; i < n; i++)
        t.sorted[i] = fabs(tensor_store(f, v[i], (uint8_t *)t.bytes + i * magnitude_width(f)));
    qsort(t.sorted, n, sizeof *t.sorted, by_size);
    return t;
}

/* Gaussian; with `steps` rounded to that many steps per unit, so that weights are tied. */
static inline struct tensor tensor_random(struct rng *rng, enum magnitude_format f, size_t n,
                                          double scale, double steps)
{
    double *v = malloc(n * sizeof *v);
    struct tensor t;

    for (size_t i = 0; i < n; i++) {
        v[i] = scale * rng_gauss(rng);
        if (steps > 0)
            v[i] = nearbyint(v[i] * steps) / steps;
    }
    t = tensor_of(f, v, n);
    free(v);
    return t;
}

static inline void tensor_done(struct tensor *t)
{
    free(t->bytes);
    free(t->sorted);
}

#endif
