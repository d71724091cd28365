/* farms.c: what FARMS costs, against the operations it cannot do without and against LAPACK; what a
 * sample of the windows costs, and how far off it is.
 *
 *     OPENBLAS_NUM_THREADS=1 farms cost [ORDER [ROWS [RUNS]]]
 *     OPENBLAS_NUM_THREADS=1 farms error MODEL.safetensors
 *
 * cost: an ORDER x ORDER float32 matrix, 15 x 15 windows of ROWS, q = 1, two processes that share
 * the runs, one thread each, as the daemon's workers do; dgemm before and after each pair of runs,
 * since others may use the machine, too. RUNS: only as many of the runs, the rest by proportion.
 * dgesdd: one window at a time on two threads, or two processes with one window
 * each, whichever is faster; three windows each, the rest by proportion.
 *
 * error: alpha of K windows of 15 x 15 against that of all, for K up to 30, largest error and its
 * ratio to the stated standard error: over the matrices of the model, windows of 2/3 of the short
 * side (fast mode would not sample matrices so small), and over three generated spectra.
 */
#include "compute/farms.h"
#include "compute/lapack.h"
#include "tests/unit/farms_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 2
#define WINDOWS 15

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- a float32 matrix in memory ------------------------------------------------------------ */

struct stored {
    const float *w;
    size_t rows, cols;
};

static int stored_read(void *arg, size_t slice, size_t row, size_t n_rows, size_t col,
                       size_t n_cols, enum precision p, void *out, uint64_t *n_nonfinite,
                       struct err *err)
{
    const struct stored *s = arg;

    (void)slice, (void)err, (void)n_nonfinite;
    for (size_t i = 0; i < n_rows; i++) {
        const float *from = s->w + (row + i) * s->cols + col;

        if (p == PRECISION_SINGLE)
            memcpy((float *)out + i * n_cols, from, n_cols * sizeof *from);
        else
            for (size_t j = 0; j < n_cols; j++)
                ((double *)out)[i * n_cols + j] = (double)from[j];
    }
    return 0;
}

static double gauss(void)
{
    return sqrt(-2 * log(1 - drand48())) * cos(2 * M_PI * drand48());
}

static float *random_matrix(size_t rows, size_t cols)
{
    float *w = malloc(rows * cols * sizeof *w);

    for (size_t i = 0; i < rows * cols; i++)
        w[i] = (float)gauss();
    return w;
}

/* --- processes that share work ------------------------------------------------------------- */

/* Seconds until WORKERS processes have called fn(arg, 0 ... n - 1), item by item. */
static double share(void (*fn)(void *arg, size_t item), void *arg, size_t n)
{
    double start = now();

    for (size_t w = 0; w < WORKERS; w++)
        if (fork() == 0) {
            for (size_t i = w; i < n; i += WORKERS)
                fn(arg, i);
            _exit(0);
        }
    for (size_t w = 0; w < WORKERS; w++)
        (void)wait(NULL);
    return now() - start;
}

struct job {
    const struct farms_plan *plan;
    const struct farms_source *src;
    double *lambda; /* shared memory */
    size_t first;
};

static void do_run(void *arg, size_t item)
{
    const struct job *j = arg;
    struct farms_run_info info;
    size_t run = j->first + item, at = 0;

    for (size_t i = 0; i < run; i++)
        at += farms_run_values(j->plan, i);
    if (farms_run(j->plan, run, j->src, j->lambda + at, &info, NULL))
        abort();
}

static void *shared(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        abort();
    return p;
}

struct square {
    size_t n, repeat;
    const struct stored *s;
};

static void do_gemm(void *arg, size_t item)
{
    const struct square *q = arg;
    lapack_int n = lapack_size(q->n);
    double *a = malloc(q->n * q->n * 8), *c = malloc(q->n * q->n * 8);

    (void)item;
    for (size_t i = 0; i < q->n * q->n; i++)
        a[i] = drand48();
    for (size_t k = 0; k < q->repeat; k++)
        cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, n, n, n, 1, a, n, a, n, 0, c, n);
}

#define GEMM_ORDER  2000
#define GEMM_REPEAT 4

/* Seconds of dgemm on both cores for one operation, from nothing to the end of the last. */
static double gemm_seconds(void)
{
    struct square q = {.n = GEMM_ORDER}, r = {.n = GEMM_ORDER, .repeat = GEMM_REPEAT};
    double none = share(do_gemm, &q, WORKERS), n = GEMM_ORDER;

    return (share(do_gemm, &r, WORKERS) - none) / (WORKERS * GEMM_REPEAT * 2 * n * n * n);
}

/* Seconds for the first `runs` runs, by proportion for all. *gemm: of an operation of dgemm,
 * between them; NULL: not wanted. */
static double time_plan(const struct farms_plan *plan, struct stored *s, size_t runs,
                        struct farms_result *f, double *gemm)
{
    struct farms_source src = {stored_read, s};
    struct job j = {plan, &src, shared(farms_values(plan) * sizeof(double)), 0};
    double seconds = 0, start, values = 0, pairs = 0;

    runs = runs < plan->n_runs ? runs : plan->n_runs;
    for (size_t i = 0; i < runs; i++)
        values += (double)farms_run_values(plan, i);
    if (gemm)
        *gemm = gemm_seconds();
    for (; j.first < runs; j.first += WORKERS, pairs++) {
        seconds += share(do_run, &j, runs - j.first < WORKERS ? runs - j.first : WORKERS);
        if (gemm)
            *gemm += gemm_seconds();
    }
    if (gemm)
        *gemm /= pairs + 1;
    seconds *= (double)farms_values(plan) / values;
    start = now();
    *f = (struct farms_result){0};
    if (runs == plan->n_runs && farms_fit(plan, j.lambda, 0, f, NULL) < 0)
        abort();
    seconds += now() - start;
    munmap(j.lambda, farms_values(plan) * sizeof(double));
    return seconds;
}

/* --- what it is compared with -------------------------------------------------------------- */

static void do_gesdd(void *arg, size_t item)
{
    const struct square *q = arg;
    double *a = malloc(q->n * q->n * 8), *sigma = malloc(q->n * 8);

    for (size_t i = 0; i < q->n; i++)
        for (size_t j = 0; j < q->n; j++)
            a[i + j * q->n] = (double)q->s->w[(item * 31 + i) * q->s->cols + item * 17 + j];
    if (lapack_singular_values(q->n, a, sigma, NULL) < 0)
        abort();
    free(a);
    free(sigma);
}

static double gesdd_seconds(const struct stored *s, size_t n, size_t windows)
{
    struct square q = {.n = n, .s = s};
    double alone, together = share(do_gesdd, &q, 3 * WORKERS) / (3 * WORKERS);

    openblas_set_num_threads(WORKERS);
    alone = now();
    for (size_t i = 0; i < 3; i++)
        do_gesdd(&q, i);
    alone = (now() - alone) / 3;
    openblas_set_num_threads(1);
    printf("dgesdd, one window      %8.2f s on two threads, %.2f s in two processes\n", alone,
           together);
    return (alone < together ? alone : together) * (double)windows;
}

static void cost(size_t order, size_t rows, size_t runs)
{
    float *w = random_matrix(order, order);
    struct stored s = {w, order, order};
    struct farms_params p = {.rows = rows, .q = 1, .windows = WINDOWS, .fit = HILL_MID};
    double n = (double)rows, m = (double)order, gemm, floor_s, exact, single, lapack, fast;
    double ops = WINDOWS * m * m * n + WINDOWS * WINDOWS * 4.0 / 3.0 * n * n * n;
    struct farms_plan plan;
    struct farms_result all, part;

    if (farms_plan_linear(&p, order, order, &plan, NULL) < 0)
        abort();
    exact = time_plan(&plan, &s, runs, &all, &gemm);
    floor_s = ops * gemm;
    printf("dgemm, both cores       %8.1f Gflop/s; floor %.2f s\n", 1e-9 / gemm, floor_s);
    printf("exact, double           %8.2f s   %.2f times the floor\n", exact, exact / floor_s);
    plan.params.precision = PRECISION_SINGLE;
    single = time_plan(&plan, &s, runs, &part, NULL);
    printf("exact, single           %8.2f s   %.2f times as fast\n", single, exact / single);
    p.mode = FARMS_FAST;
    if (farms_plan_linear(&p, order, order, &plan, NULL) < 0)
        abort();
    fast = time_plan(&plan, &s, plan.n_runs, &part, NULL);
    printf("fast, double            %8.2f s   %.1f times as fast; alpha %.5f +- %.5f\n", fast,
           exact / fast, part.alpha, part.standard_error);
    if (all.n_evals)
        printf("                                   alpha of all %.5f, error %.3f %%\n", all.alpha,
               100 * fabs(part.alpha / all.alpha - 1));
    lapack = gesdd_seconds(&s, rows, WINDOWS * WINDOWS);
    printf("dgesdd, all windows     %8.2f s   exact is %.2f times as fast, single %.2f\n", lapack,
           lapack / exact, lapack / single);
    free(w);
}

/* --- the error of a sample ----------------------------------------------------------------- */

static const size_t sample[] = {4, 8, 12, 15, 22, 30};

struct errors {
    double max[ARRAY_LEN(sample)], z_max[ARRAY_LEN(sample)], z2[ARRAY_LEN(sample)];
    size_t n;
};

static void add_errors(struct errors *e, const double *w, size_t rows, size_t cols, size_t window)
{
    struct boxes b = boxes_of(w, rows, cols);
    struct farms_params p = {.rows = window, .q = 1, .windows = WINDOWS, .fit = HILL_MID};
    struct farms_plan plan;
    struct farms_result all, part;

    if (farms_plan_linear(&p, rows, cols, &plan, NULL) < 0 ||
        farms_all(&plan, &b, &all, NULL, NULL) < 0)
        abort();
    plan.sampled = true;
    plan.cut = false;
    for (size_t k = 0; k < ARRAY_LEN(sample); k++) {
        double z;

        plan.n_runs = sample[k];
        if (farms_all(&plan, &b, &part, NULL, NULL) < 0)
            abort();
        z = fabs(part.alpha - all.alpha) / part.standard_error;
        e->max[k] = fmax(e->max[k], fabs(part.alpha / all.alpha - 1));
        e->z_max[k] = fmax(e->z_max[k], z);
        e->z2[k] += z * z;
    }
    e->n++;
}

static void print_errors(const char *of, const struct errors *e)
{
    printf("%s\n  windows of 225   error of alpha   error / standard error: root mean square, "
           "largest\n",
           of);
    for (size_t k = 0; k < ARRAY_LEN(sample); k++)
        printf("  %4zu (1 / %4.1f)   %10.3f %%   %12.2f %6.2f\n", sample[k],
               225.0 / (double)sample[k], 100 * e->max[k], sqrt(e->z2[k] / (double)e->n),
               e->z_max[k]);
}

/* kind 0: independent Gaussian entries; 1: entries with tails of exponent 2.5; 2: singular values
 * i^-0.7 (nearly), random directions. */
static double *generated(int kind, size_t n)
{
    double *w = malloc(n * n * sizeof *w), *u, *v;

    for (size_t i = 0; i < n * n; i++)
        w[i] = kind == 1 ? copysign(pow(1 - drand48(), -1 / 2.5), drand48() - 0.5) : gauss();
    if (kind < 2)
        return w;
    u = malloc(n * n * sizeof *u);
    v = malloc(n * n * sizeof *v);
    for (size_t i = 0; i < n * n; i++) {
        u[i] = gauss();
        v[i] = gauss() * pow(1 + (double)(i % n), -0.7);
    }
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, lapack_size(n), lapack_size(n),
                lapack_size(n), 1, u, lapack_size(n), v, lapack_size(n), 0, w, lapack_size(n));
    free(u);
    free(v);
    return w;
}

static void error_table(const char *path)
{
    struct tensor_file f = {0};
    struct errors model = {0}, made = {0};
    const char *name;
    json_t *tensor;

    if (tensor_file_open(&f, path) < 0)
        abort();
    json_object_foreach(f.header, name, tensor)
    {
        struct boxes b;
        double *w = strcmp(name, "__metadata__") == 0 ? NULL : tensor_file_bf16(&f, name, &b);

        if (w)
            add_errors(&model, w, b.rows, b.cols, (b.rows < b.cols ? b.rows : b.cols) * 2 / 3);
        free(w);
    }
    tensor_file_close(&f);
    print_errors(path, &model);
    for (int kind = 0; kind < 3; kind++) {
        double *w = generated(kind, 1024);

        add_errors(&made, w, 1024, 1024, 500);
        free(w);
    }
    print_errors("generated, 1024 x 1024, windows of 500", &made);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "cost") == 0) {
        cost(argc > 2 ? strtoul(argv[2], NULL, 10) : 4096,
             argc > 3 ? strtoul(argv[3], NULL, 10) : 2000,
             argc > 4 ? strtoul(argv[4], NULL, 10) : WINDOWS);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "error") == 0) {
        error_table(argv[2]);
        return 0;
    }
    fprintf(stderr, "usage: farms cost [ORDER [ROWS [RUNS]]] | error MODEL\n");
    return 2;
}
