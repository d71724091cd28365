/* band.h: a symmetric band matrix and its reduction to tridiagonal form, values only.
 *
 * Second stage of the two-stage tridiagonalisation. Bischof, Lang, Sun, "A framework for
 * symmetric band reduction", ACM TOMS 26 (2000) 581; Haidar, Ltaief, Dongarra, SC 2011.
 */
#ifndef SPECTRALD_BAND_H
#define SPECTRALD_BAND_H

#include "common/err.h"

/* Columns start on this many doubles: one AVX-512 vector, one cache line. */
#define BAND_ALIGN 8
/* The widest band that band_new() takes. */
#define BAND_WIDTH_MAX 256

struct band {
    size_t n;     /* order, >= 1 */
    size_t width; /* sub-diagonals, 1 ... BAND_WIDTH_MAX */
    size_t ld;    /* element (i, j), i >= j, is a[i + j * ld] */
    double *a;    /* zero outside what was written */
    void *memory; /* owned: what `a` points into */
};

/* A zero matrix. Returns 0 and an owned *out (band_free), or ERR_NOMEM. */
int band_new(size_t n, size_t width, struct band **out, struct err *err);
void band_free(struct band *b);
DEFINE_AUTO(struct band, band_free)

/* Bytes that band_new() allocates. */
double band_bytes(size_t n, size_t width);

/* Orthogonal reduction to a tridiagonal matrix with diagonal d (n) and sub-diagonal e (n - 1):
 * 6 n^2 width flops. The band is destroyed. Backward stable: |error of an eigenvalue| is a small
 * multiple of eps times the norm. Entries must be finite and at most 1e150 in magnitude; what is
 * below 1e-145 counts as zero in a reflector. */
void band_tridiagonalise(struct band *b, double *d, double *e);

#endif
