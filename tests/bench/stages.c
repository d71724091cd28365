/* stages.c: where the time of one spectrum goes, each stage against its operations at dgemm speed.
 *
 *     OPENBLAS_NUM_THREADS=1 stages [ORDER [PROCESSES [WIDTH]]]    of the first process
 *
 * All processes work at once, one thread each, as the daemon's workers do.
 */
#include "compute/band.h"
#include "compute/full_to_band.h"
#include "compute/lapack.h"
#include "compute/spectrum.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Operations per second of dgemm at this order, best of three. */
static double dgemm_speed(void)
{
    const int n = 2048;
    double *a = calloc((size_t)(n * n), sizeof *a);
    double *c = calloc((size_t)(n * n), sizeof *c);
    double best = 1e9;

    if (!a || !c)
        abort();
    for (int i = 0; i < n * n; i++)
        a[i] = drand48();
    for (int k = 0; k < 4; k++) {
        double start = now();

        cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, a, n, 0, c, n);
        best = now() - start < best ? now() - start : best;
    }
    free(a);
    free(c);
    return 2.0 * n * n * n / best;
}

static void line(const char *stage, double seconds, double flops, double speed, bool print)
{
    if (print)
        printf("%-20s %8.3f s   %5.2f times its operations at dgemm speed\n", stage, seconds,
               seconds * speed / flops);
}

/* Gram matrix of an n x n random matrix, blocks of 512 lines. */
static void gram(const double *w, size_t n, double *g, size_t ld)
{
    for (size_t i = 0; i < n; i += 512) {
        lapack_int k = lapack_size(n - i < 512 ? n - i : 512);

        cblas_dsyrk(CblasColMajor, CblasLower, CblasNoTrans, lapack_size(n), k, 1, w + i * n,
                    lapack_size(n), i > 0, g, lapack_size(ld));
    }
}

struct stages {
    size_t n, width;
    double *w, *g, *d, *e;
    struct band *band;
};

static void stages_done(struct stages *s)
{
    free(s->w);
    free(s->g);
    free(s->d);
    free(s->e);
    band_free(s->band);
}

static void stages_init(struct stages *s)
{
    size_t n = s->n;

    s->w = calloc(n * n, sizeof(double));
    s->g = calloc(n * spectrum_gram_ld(n), sizeof(double));
    s->d = calloc(n, sizeof(double));
    s->e = calloc(n, sizeof(double));
    if (!s->w || !s->g || !s->d || !s->e || band_new(n, s->width, &s->band, NULL) < 0)
        abort();
    for (size_t i = 0; i < n * n; i++)
        s->w[i] = drand48() - 0.5;
}

static void run(size_t n, size_t width, bool print)
{
    AUTO(stages_done) struct stages s = {.n = n, .width = width};
    double speed = dgemm_speed(), cube = (double)n * (double)n * (double)n;
    double t[5];

    stages_init(&s);
    t[0] = now();
    gram(s.w, n, s.g, spectrum_gram_ld(n));
    t[1] = now();
    if (full_to_band_double(s.g, n, spectrum_gram_ld(n), s.band, NULL) < 0)
        abort();
    t[2] = now();
    band_tridiagonalise(s.band, s.d, s.e);
    t[3] = now();
    if (lapack_tridiagonal_eigenvalues(n, s.d, s.e, NULL) < 0)
        abort();
    t[4] = now();
    line("Gram matrix", t[1] - t[0], cube, speed, print);
    line("full to band", t[2] - t[1], 4.0 / 3 * cube, speed, print);
    line("band to tridiagonal", t[3] - t[2], 6 * cube / (double)n * (double)width, speed, print);
    if (print)
        printf("%-20s %8.3f s\n", "tridiagonal", t[4] - t[3]);
    line("all", t[4] - t[0], 7.0 / 3 * cube, speed, print);
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 4096;
    int processes = argc > 2 ? atoi(argv[2]) : 2;
    size_t width = argc > 3 ? strtoul(argv[3], NULL, 10) : n < 3000 ? 32 : 64;

    for (int i = 1; i < processes; i++)
        if (fork() == 0) {
            run(n, width, false);
            _exit(0);
        }
    run(n, width, true);
    while (wait(NULL) > 0)
        ;
    return 0;
}
