/* tails_one.c: one ascending sample, for tails.py.
 *
 *   tails_one tpl|tpl_compat|tpl_reference N X
 *
 * X is raw doubles. Prints the seconds of the computation and what was found.
 */
#include "common/base.h"
#include "compute/tpl.h"

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

int main(int argc, char **argv)
{
    if (argc == 4 && strncmp(argv[1], "tpl", 3) == 0) {
        size_t n = strtoul(argv[2], NULL, 10);
        AUTO(freep) double *x = load(argv[3], n);

        return one_tpl(argv[1], x, n);
    }
    (void)fprintf(stderr, "see the head of tails_one.c\n");
    return 2;
}
