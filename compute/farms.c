/* farms.c: where the windows lie, and which of them are solved. The pool is fitted in farms_fit.c.
 *
 * A run is one strip of windows over the same elements of their lines: Gram matrices of
 * neighbours overlap (farms_window.h). Runs depend on shape and parameters alone, so results do
 * not depend on how many workers share them.
 */
#include "compute/farms.h"

#include "compute/farms_window.h"
#include "compute/spectrum.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Upstream's factor sqrt(0.5) on convolution weights. */
#define CONV_SCALE 0.5

/* The Latin design takes row k of the grid with column k g + h mod K. g close to K (2 - sqrt 3)
 * keeps the windows apart from one another. */
#define LATTICE_SLOPE 0.2679

int farms_params_check(const struct farms_params *p, struct err *err)
{
    if (p->rows < FARMS_ROWS_MIN || p->rows > FARMS_ROWS_MAX)
        return err_set_at(err, ERR_INVALID, "/rows", "rows must be between %d and %d",
                          FARMS_ROWS_MIN, FARMS_ROWS_MAX);
    if (!(p->q >= FARMS_Q_MIN && p->q <= FARMS_Q_MAX))
        return err_set_at(err, ERR_INVALID, "/q", "q must be between %g and %g", FARMS_Q_MIN,
                          FARMS_Q_MAX);
    if (p->windows < 1 || p->windows > FARMS_WINDOWS_MAX)
        return err_set_at(err, ERR_INVALID, "/windows", "windows must be between 1 and %d",
                          FARMS_WINDOWS_MAX);
    if (p->fit != HILL_MID && p->fit != HILL_PEAK_UPSTREAM && p->fit != HILL_PEAK_LINEAR &&
        p->fit != HILL_KS && p->fit != HILL_TOP)
        return err_set_at(err, ERR_INVALID, "/fit", "fit must be xmin_mid, xmin_peak, ks or top");
    if (p->mode != FARMS_EXACT && p->mode != FARMS_FAST)
        return err_set_at(err, ERR_INVALID, "/mode", "mode must be exact or fast");
    if (p->fit == HILL_TOP && p->mode == FARMS_FAST)
        return err_set_at(err, ERR_INVALID, "/mode",
                          "mode fast needs fit xmin_mid: the standard error of top is not known");
    if (p->fit != HILL_MID && p->mode == FARMS_FAST)
        return err_set_at(
            err, ERR_INVALID, "/mode",
            "mode fast needs fit xmin_mid: where xmin_peak and ks start the tail "
            "hangs on single eigenvalues, which a sample of the windows does not tell");
    if (p->fit != HILL_MID && p->fit != HILL_TOP && p->precision == PRECISION_SINGLE)
        return err_set_at(err, ERR_INVALID, "/fit",
                          "fit xmin_peak and ks need precision double: they may start the tail "
                          "among the smallest eigenvalues, which single does not resolve");
    return 0;
}

/* Windows along one dimension, upstream's integer arithmetic. */
static void along(size_t extent, size_t window, size_t k, size_t *n, size_t *step, size_t *last)
{
    size_t room = extent - window, fit;

    *step = k > 1 ? room / (k - 1) : 1;
    *step = *step > 1 ? *step : 1;
    fit = room / *step + 1;
    *n = fit < k ? fit : k;
    *last = room;
}

static size_t window_start(size_t i, size_t step, size_t last)
{
    return i * step < last ? i * step : last;
}

static double window_flops(const struct farms_plan *p)
{
    double n = (double)p->order;

    return n * n * (double)p->length + 4.0 / 3.0 * n * n * n;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Four in five, even: workers come in pairs. */
static size_t sample_size(size_t n)
{
    return 2 * ((2 * n + 4) / 5);
}

int farms_plan_linear(const struct farms_params *p, size_t rows, size_t cols,
                      struct farms_plan *out, struct err *err)
{
    struct farms_plan f = {.params = *p};
    size_t m = p->rows < rows ? p->rows : rows, n;
    size_t n_r, n_c, step_r, step_c, last_r, last_c;
    int r = farms_params_check(p, err);

    if (r < 0)
        return r;
    m = m < cols ? m : cols;
    n = (size_t)((double)m * p->q);
    if (n < 1 || n > cols)
        return err_set_at(
            err, ERR_INVALID, "/q",
            "a window of %zu rows and q = %g has %zu columns, the matrix is %zu x %zu", m, p->q, n,
            rows, cols);
    along(rows, m, p->windows, &n_r, &step_r, &last_r);
    along(cols, n, p->windows, &n_c, &step_c, &last_c);
    f.along_rows = m <= n;
    f.order = f.along_rows ? m : n;
    f.length = f.along_rows ? n : m;
    f.n_order = f.along_rows ? n_r : n_c;
    f.n_length = f.along_rows ? n_c : n_r;
    f.step_order = f.along_rows ? step_r : step_c;
    f.step_length = f.along_rows ? step_c : step_r;
    f.last_order = f.along_rows ? last_r : last_c;
    f.last_length = f.along_rows ? last_c : last_r;
    f.sampled = p->mode == FARMS_FAST && n_r > 1 && n_c > 1 &&
                window_flops(&f) * (double)(n_r * n_c) > FARMS_EXACT_FLOPS;
    f.cut = !f.sampled && f.n_length % 2 == 1 && f.n_order > 1;
    f.n_runs = f.sampled ? sample_size(max_size(n_r, n_c)) : f.n_length + f.cut;
    *out = f;
    return 0;
}

/* Python's float floor division of positive numbers: 1 // 0.1 is 9. */
static size_t floor_divide(double a, double b)
{
    return (size_t)llround((a - fmod(a, b)) / b);
}

int farms_plan_conv(const struct farms_params *p, size_t out_channels, size_t in_channels,
                    size_t positions, struct farms_plan *out, struct err *err)
{
    struct farms_plan f = {.params = *p, .conv = true, .n_length = positions};
    size_t tall = max_size(out_channels, in_channels);
    size_t flat = tall == out_channels ? in_channels : out_channels, h, w;
    int r = farms_params_check(p, err);

    if (r < 0)
        return r;
    ASSERT(flat > 0 && positions > 0);
    h = p->q > 1 ? max_size(1, floor_divide((double)flat, p->q)) : flat;
    w = p->q > 1 ? flat : max_size(1, floor_divide((double)flat, 1 / p->q));
    /* Lines are rows of the tall slice when the window is flat. */
    f.along_rows = (h <= w) == (tall == out_channels);
    f.order = h <= w ? h : w;
    f.length = h <= w ? w : h;
    f.n_order = tall / flat;
    f.step_order = h;
    f.n_runs = f.n_order;
    *out = f;
    return 0;
}

/* What run `run` of a linear plan that is not sampled covers: windows first ... first + count - 1
 * of a strip. An odd last strip is cut in two, so that two workers are done at the same time. */
static void run_part(const struct farms_plan *p, size_t run, size_t *strip, size_t *first,
                     size_t *count)
{
    size_t half = (p->n_order + 1) / 2;

    *strip = run < p->n_length ? run : p->n_length - 1;
    *first = run < p->n_length ? 0 : half;
    *count = !p->cut || run + 1 < p->n_length ? p->n_order
             : run < p->n_length              ? half
                                              : p->n_order - half;
}

static size_t run_windows(const struct farms_plan *p, size_t run)
{
    size_t strip, first, count;

    if (p->conv)
        return p->n_length;
    if (p->sampled)
        return 1;
    run_part(p, run, &strip, &first, &count);
    return count;
}

size_t farms_run_values(const struct farms_plan *p, size_t run)
{
    return p->order * run_windows(p, run);
}

size_t farms_values(const struct farms_plan *p)
{
    return p->order * (p->sampled ? p->n_runs : p->n_order * p->n_length);
}

double farms_run_flops(const struct farms_plan *p, size_t run)
{
    double n = (double)p->order, windows = (double)run_windows(p, run);
    double fresh = (double)(p->step_order < p->order ? p->step_order : p->order);

    if (p->conv)
        return windows * window_flops(p);
    return (n * n + (windows - 1) * fresh * (2 * n - fresh)) * (double)p->length +
           windows * 4.0 / 3.0 * n * n * n;
}

double farms_run_bytes(const struct farms_plan *p, size_t run)
{
    size_t windows = p->conv ? 1 : run_windows(p, run);

    return farms_strip_bytes(p->order, p->length, p->order + (windows - 1) * p->step_order,
                             windows);
}

static size_t greatest_common_divisor(size_t a, size_t b)
{
    while (b > 0) {
        size_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* A slope that visits every residue of `modulus` and is not a diagonal; 0 when there is none. */
static size_t lattice_slope(size_t modulus)
{
    size_t g = max_size(2, (size_t)(LATTICE_SLOPE * (double)modulus + 0.5));

    while (g + 1 < modulus && greatest_common_divisor(modulus, g) != 1)
        g++;
    return g + 1 < modulus ? g : 0;
}

void farms_sampled_window(const struct farms_plan *p, size_t run, size_t *i, size_t *j)
{
    size_t n = p->n_runs, g = lattice_slope(n), column;

    if (g > 0)
        column = (run * g + n / 7) % n;
    else if ((g = lattice_slope(n + 1)) > 0) /* without the residue 0 */
        column = (run + 1) * g % (n + 1) - 1;
    else
        column = run;
    *i = (2 * run + 1) * p->n_order / (2 * n);
    *j = (2 * column + 1) * p->n_length / (2 * n);
}

/* What is zero for the fit: see the header. Single precision tells no zero, but counts. */
static void settle(const struct farms_plan *p, double *lambda, double bound, double scale)
{
    double zero = DBL_EPSILON * (double)p->length * lambda[p->order - 1];

    for (size_t i = 0; i < p->order; i++) {
        if (p->params.precision == PRECISION_SINGLE)
            lambda[i] = lambda[i] < bound ? bound : lambda[i];
        else
            lambda[i] = lambda[i] <= zero ? 0 : lambda[i];
        lambda[i] *= scale;
    }
}

static int solve(const struct farms_plan *p, const struct farms_strip *s, double scale,
                 double *lambda, struct farms_run_info *info, struct err *err)
{
    double bound[FARMS_WINDOWS_MAX];
    int r = farms_strip_solve(s, p->params.precision, lambda, bound, &info->n_nonfinite, err);

    for (size_t w = 0; r == 0 && info->n_nonfinite == 0 && w < s->n_start; w++) {
        settle(p, lambda + w * p->order, bound[w], scale);
        info->error_bound = fmax(info->error_bound, scale * bound[w]);
    }
    return r;
}

static int run_conv(const struct farms_plan *p, size_t run, struct farms_strip *s, double *lambda,
                    struct farms_run_info *info, struct err *err)
{
    /* The groups follow one another along the tall side: that of the lines, or across them. */
    bool flat_window = p->step_order == p->order;
    size_t start = flat_window ? run * p->step_order : 0;
    int r = 0;

    s->at = flat_window ? 0 : run * p->step_order;
    s->start = &start;
    s->n_start = 1;
    for (size_t i = 0; r == 0 && info->n_nonfinite == 0 && i < p->n_length; i++) {
        s->slice = i;
        r = solve(p, s, CONV_SCALE, lambda + i * p->order, info, err);
    }
    return r;
}

int farms_run(const struct farms_plan *p, size_t run, const struct farms_source *src,
              double *lambda, struct farms_run_info *info, struct err *err)
{
    size_t start[FARMS_WINDOWS_MAX], at_order, at_length;
    struct farms_strip s = {
        .src = src, .rows = p->along_rows, .order = p->order, .length = p->length, .start = start};
    struct farms_run_info i = {0};
    int r;

    ASSERT(run < p->n_runs);
    if (p->conv) {
        r = run_conv(p, run, &s, lambda, &i, err);
    } else {
        s.n_start = 1;
        if (p->sampled)
            farms_sampled_window(p, run, &at_order, &at_length);
        else
            run_part(p, run, &at_length, &at_order, &s.n_start);
        s.at = window_start(at_length, p->step_length, p->last_length);
        for (size_t w = 0; w < s.n_start; w++)
            start[w] = window_start(at_order + w, p->step_order, p->last_order);
        r = solve(p, &s, 1, lambda, &i, err);
    }
    if (r == 0)
        *info = i;
    return r;
}
