/* random.h: random numbers from a seed that the caller gives; the same numbers everywhere, always.
 *
 * xoshiro256** (Blackman, Vigna, ACM TOMS 47 (2021) 36), its state filled by splitmix64 (Steele,
 * Lea, Flood, OOPSLA 2014). Not for secrets. A computation in parts (replicates, rows) takes one
 * stream for each part, numbered from 0: then no result depends on who computes which part, or
 * when.
 */
#ifndef SPECTRALD_RANDOM_H
#define SPECTRALD_RANDOM_H

#include "common/base.h"

struct random {
    uint64_t s[4];
    double spare; /* the second normal of a pair */
    bool has_spare;
};

/* Start stream `stream` of `seed`. All seeds and streams are fine, 0 too. */
void random_init(struct random *r, uint64_t seed, uint64_t stream);

/* 64 random bits. */
uint64_t random_u64(struct random *r);

/* A multiple of 2^-53 in [0, 1), uniform; one in (0, 1], so that its logarithm is finite. */
double random_uniform(struct random *r);
double random_uniform_positive(struct random *r);

/* An integer in [0, n), each exactly as likely (Lemire, ACM TOMACS 29 (2019) 3); n > 0. */
uint64_t random_below(struct random *r, uint64_t n);

/* A standard normal number (Marsaglia's polar method). */
double random_normal(struct random *r);

/* Put the n elements of `size` bytes at `base` into random order, each order as likely
 * (Fisher-Yates, from the end). */
void random_shuffle(struct random *r, void *base, size_t n, size_t size);

#endif
