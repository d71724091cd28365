/* prune_one.c: one layer, for prune.py.
 *
 *   prune_one trim ROWS COLS TOKENS TARGET W SCORE X OUT   OUT: sparsity of every row, float
 *   prune_one sparsegpt ROWS COLS SPARSITY W GRAM OUT      OUT: the weights; prints the error too
 *
 * W, SCORE, X (cols x tokens) and OUT are raw floats, GRAM raw doubles. Prints the seconds that the
 * computation took, from arrays in memory to arrays in memory.
 */
#include "common/base.h"
#include "compute/prune_select.h"
#include "compute/sparsegpt.h"
#include "tests/unit/scored_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *load(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    void *v = malloc(size);

    if (!f || !v || fread(v, 1, size, f) != size)
        exit(2);
    (void)fclose(f);
    return v;
}

static void save(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0)
        exit(2);
}

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int one_trim(char **arg)
{
    size_t rows = strtoul(arg[0], NULL, 10), cols = strtoul(arg[1], NULL, 10);
    size_t tokens = strtoul(arg[2], NULL, 10);
    struct trim_options opt = {.target = strtod(arg[3], NULL)};
    AUTO(freep) float *w = load(arg[4], rows * cols * sizeof *w);
    AUTO(freep) float *score = load(arg[5], rows * cols * sizeof *score);
    AUTO(freep) float *x = load(arg[6], cols * tokens * sizeof *x);
    AUTO(freep) float *sparsity = xcalloc(rows, sizeof *sparsity);
    struct scored scored = {w, score, cols};
    struct trim_input in = {.rows = rows,
                            .cols = cols,
                            .read = read_scored,
                            .pick = pick_weights,
                            .arg = &scored,
                            .x = x,
                            .tokens = tokens};
    struct trim_result result;
    struct err err;
    double start = now();

    if (trim(&in, &opt, sparsity, &result, &err) < 0)
        return 2;
    printf("%.4f %.17g %g\n", now() - start, result.best, result.rate);
    save(arg[7], sparsity, rows * sizeof *sparsity);
    return 0;
}

struct square {
    const double *a;
    size_t n;
};

static int read_square(void *arg, double *gram, struct err *err)
{
    const struct square *s = arg;

    (void)err;
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = i; j < s->n; j++)
            gram[sparsegpt_place(s->n, i, j)] = s->a[i * s->n + j];
    return 0;
}

static int one_sparsegpt(char **arg)
{
    size_t rows = strtoul(arg[0], NULL, 10), cols = strtoul(arg[1], NULL, 10);
    struct sparsegpt_options opt = {.sparsity = strtod(arg[2], NULL)};
    AUTO(freep) float *w = load(arg[3], rows * cols * sizeof *w);
    AUTO(freep) double *gram = load(arg[4], cols * cols * sizeof *gram);
    AUTO(freep) uint8_t *mask = xcalloc(rows, prune_mask_bytes(cols));
    AUTO(freep) float *u = NULL;
    struct square square = {gram, cols};
    struct sparsegpt_factor_info info;
    double error, start = now(), middle;
    struct err err;

    if (sparsegpt_factor(cols, read_square, &square, 1, SPARSEGPT_DAMPING, &u, &info, &err) < 0)
        return 2;
    middle = now();
    if (sparsegpt(w, rows, cols, u, &opt, mask, &error, &err) < 0)
        return 2;
    printf("%.4f %.17g %.4f\n", now() - start, error, middle - start);
    save(arg[5], w, rows * cols * sizeof *w);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 10 && strcmp(argv[1], "trim") == 0)
        return one_trim(argv + 2);
    if (argc == 8 && strcmp(argv[1], "sparsegpt") == 0)
        return one_sparsegpt(argv + 2);
    return 2;
}
