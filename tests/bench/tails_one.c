/* tails_one.c: one ascending sample, for tails.py.
 *
 *   tails_one tpl|tpl_compat|tpl_reference N X      alpha, Lambda, D, xmin, n_tail
 *   tails_one bootstrap N X REPLICATES              p-value, interval of alpha; both kinds
 *   tails_one best N X                              the best law at the power law's xmin
 *   tails_one coverage SHAPE N ALPHA SAMPLES SEED   how often intervals hold ALPHA: by sigma, and
 *       from 200 replicates of either kind; how often p < 0.1. SHAPE: pure, joined (half of the
 *       values uniform below the tail), bulk (lognormal, 60 %, reaching into the tail)
 *
 * X is raw doubles. Prints the seconds of the computation first, then what was found.
 */
#include "common/base.h"
#include "common/sort.h"
#include "compute/bootstrap.h"
#include "compute/vuong.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double *load(const char *path, size_t n)
{
    FILE *f = fopen(path, "rb");
    double *v = malloc(n * sizeof *v);

    if (!f || !v || fread(v, sizeof *v, n, f) != n)
        exit(2);
    (void)fclose(f);
    return v;
}

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int one_tpl(const char *how, const double *x, size_t n)
{
    struct tpl_options opt = {.compat = strcmp(how, "tpl_compat") == 0};
    AUTO(freep) double *work = xcalloc(TPL_WORK(n), sizeof *work);
    bool reference = strcmp(how, "tpl_reference") == 0;
    double start = now();
    struct tpl_fit f;
    struct err err;

    if ((reference ? tpl_fit_reference : tpl_fit)(x, n, &opt, work, &f, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    (void)printf("%.6f %.17g %.17g %.17g %.17g %zu\n", now() - start, f.alpha, f.Lambda, f.D,
                 f.xmin, f.n_tail);
    return 0;
}

static int one_bootstrap(const double *x, size_t n, size_t reps)
{
    AUTO(freep) double *work = xcalloc(BOOTSTRAP_WORK(n), sizeof *work);
    AUTO(freep) struct bootstrap_replicate *r = xcalloc(reps, sizeof *r);
    struct bootstrap_options opt = {.kind = BOOTSTRAP_MODEL, .seed = 1};
    struct bootstrap_interval in;
    struct powerlaw_fit fit;
    double start = now(), p;

    if (powerlaw_fit(x, n, work, &fit, NULL) < 0 ||
        bootstrap_replicates(x, n, &fit, &opt, 0, reps, work, r, NULL) < 0)
        return 1;
    p = bootstrap_p_value(fit.D, r, reps).p;
    opt.kind = BOOTSTRAP_RESAMPLE;
    if (bootstrap_replicates(x, n, &fit, &opt, 0, reps, work, r, NULL) < 0 ||
        bootstrap_interval(r, reps, 0.95, &in, NULL) < 0)
        return 1;
    (void)printf("%.6f %.4f %.6f %.6f %.6f\n", now() - start, p, fit.alpha, in.low, in.high);
    return 0;
}

static int one_best(const double *x, size_t n)
{
    AUTO(freep) double *work = xcalloc(BEST_FIT_WORK(n), sizeof *work);
    struct powerlaw_fit fit;
    struct best_fit b;
    double start = now();

    if (powerlaw_fit(x, n, work, &fit, NULL) < 0 ||
        best_fit(x + n - fit.n_tail, fit.n_tail, fit.xmin, false, BEST_FIT_LEVEL, work, &b, NULL) <
            0)
        return 1;
    (void)printf("%.6f %s\n", now() - start, best_fit_name(b.best));
    return 0;
}

static void sample(const char *shape, double alpha, size_t n, struct random *r, double *x)
{
    for (size_t i = 0; i < n; i++) {
        double u = random_uniform_positive(r), which = random_uniform(r);

        x[i] = pow(u, -1 / (alpha - 1));
        if (strcmp(shape, "joined") == 0 && which < 0.5)
            x[i] = u;
        else if (strcmp(shape, "bulk") == 0 && which < 0.6)
            x[i] = 0.3 * exp(0.8 * random_normal(r) - 1);
    }
    sort_ascending(x, n);
}

static int coverage(char **arg)
{
    enum { REPS = 200 };
    size_t n = strtoul(arg[1], NULL, 10), samples = strtoul(arg[3], NULL, 10);
    uint64_t seed = strtoul(arg[4], NULL, 10);
    double alpha = strtod(arg[2], NULL), held[3] = {0}, doubted = 0, start = now();
    AUTO(freep) double *x = xcalloc(n, sizeof *x);
    AUTO(freep) double *work = xcalloc(BOOTSTRAP_WORK(n), sizeof *work);

    for (size_t s = 0; s < samples; s++) {
        struct bootstrap_replicate rep[REPS];
        struct powerlaw_fit fit;
        struct random r;

        random_init(&r, seed, s);
        sample(arg[0], alpha, n, &r, x);
        if (powerlaw_fit(x, n, work, &fit, NULL) < 0)
            return 1;
        held[0] += fabs(fit.alpha - alpha) <= 1.959964 * fit.sigma;
        for (int kind = BOOTSTRAP_MODEL; kind <= BOOTSTRAP_RESAMPLE; kind++) {
            struct bootstrap_options opt = {.kind = (enum bootstrap_kind)kind, .seed = seed + s};
            struct bootstrap_interval in;

            if (bootstrap_replicates(x, n, &fit, &opt, 0, REPS, work, rep, NULL) < 0)
                return 1;
            if (kind == BOOTSTRAP_MODEL)
                doubted += bootstrap_p_value(fit.D, rep, REPS).p < 0.1;
            if (bootstrap_interval(rep, REPS, 0.95, &in, NULL) < 0)
                return 1;
            held[1 + kind] += in.low <= alpha && alpha <= in.high;
        }
    }
    (void)printf("%.1f %.4f %.4f %.4f %.4f\n", now() - start, held[0] / (double)samples,
                 held[1] / (double)samples, held[2] / (double)samples, doubted / (double)samples);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "coverage") == 0)
        return coverage(argv + 2);
    if (argc >= 4) {
        size_t n = strtoul(argv[2], NULL, 10);
        AUTO(freep) double *x = load(argv[3], n);

        if (argc == 4 && strncmp(argv[1], "tpl", 3) == 0)
            return one_tpl(argv[1], x, n);
        if (argc == 4 && strcmp(argv[1], "best") == 0)
            return one_best(x, n);
        if (argc == 5 && strcmp(argv[1], "bootstrap") == 0)
            return one_bootstrap(x, n, strtoul(argv[4], NULL, 10));
    }
    (void)fprintf(stderr, "see the head of tails_one.c\n");
    return 2;
}
