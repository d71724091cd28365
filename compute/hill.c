/* hill.c: see hill.h. */
#include "compute/hill.h"

#include "compute/powerlaw.h"

#include <math.h>

#define PEAK_BINS    100
#define PEAK_BELOW   0.95
#define PEAK_ABOVE   1.5
#define TOP_FRACTION 0.1
#define TOP_LEAST    10

const char *hill_status_name(enum hill_status s)
{
    static const char *const name[] = {"ok", "too_few", "all_equal", "no_candidate"};

    return (unsigned)s < ARRAY_LEN(name) ? name[s] : NULL;
}

size_t hill_zeros(const double *x, size_t n, double eps)
{
    size_t zeros = 0;

    while (zeros < n && x[zeros] <= eps * (double)n * x[n - 1])
        zeros++;
    return zeros;
}

static int check(const double *x, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]) || x[i] < (i ? x[i - 1] : 0))
            return err_set(err, ERR_INVALID, "value %zu is not finite, or not in ascending order",
                           i);
    return 0;
}

/* 1 + count / sum of ln(x_j / ref) from `first` on; +infinity without spread. */
static double exponent(const double *x, size_t n, size_t first, double ref)
{
    double sum = 0, c = 0;

    for (size_t j = first; j < n; j++) {
        double v = log(x[j] / ref), t = sum + v;

        c += sum >= v ? (sum - t) + v : (v - t) + sum;
        sum = t;
    }
    return 1 + (double)(n - first) / (sum + c);
}

static double distance(const double *x, size_t n, size_t first, double alpha)
{
    double count = (double)(n - first), max = 0;

    for (size_t j = first; j < n; j++) {
        double d = fabs(1 - pow(x[j] / x[first], 1 - alpha) - (double)(j - first) / count);

        max = d > max ? d : max;
    }
    return max;
}

static void settle(struct hill_fit *f, const double *x, size_t first, double alpha, double d)
{
    f->status = isfinite(alpha) ? HILL_OK : HILL_ALL_EQUAL;
    if (f->status != HILL_OK)
        return;
    f->alpha = alpha;
    f->D = d;
    f->first = first;
    f->xmin = x[first];
}

static void fit_from(const double *x, size_t n, const struct hill_start *start, struct hill_fit *f)
{
    size_t first = (size_t)((double)n / start->pos);
    double alpha;

    first = first < n ? first : n - 1; /* pos hardly above 1 */
    alpha = exponent(x, n, first, x[start->paper && first > 0 ? first - 1 : first]);
    settle(f, x, first, alpha, isfinite(alpha) ? distance(x, n, first, alpha) : NAN);
}

static void fit_top(const double *x, size_t n, struct hill_fit *f)
{
    size_t k = (size_t)(TOP_FRACTION * (double)n);

    k = k < TOP_LEAST ? TOP_LEAST : k;
    k = k > n - 1 ? n - 1 : k;
    settle(f, x, n - k, exponent(x, n, n - k, x[n - k - 1]), NAN);
}

double hill_peak(const double *x, size_t n)
{
    double low = log10(x[0]), width = log10(x[n - 1]) - low;
    size_t count[PEAK_BINS] = {0}, best = 0;

    for (size_t i = 0; i < n; i++) {
        double at = (log10(x[i]) - low) / width * PEAK_BINS;

        count[at >= PEAK_BINS ? PEAK_BINS - 1 : (size_t)at]++;
    }
    for (size_t b = 1; b < PEAK_BINS; b++)
        if (count[b] > count[best])
            best = b;
    return pow(10, low + (double)best * (width / PEAK_BINS));
}

/* The best start of a tail among first <= i < end. */
static void fit_among(const double *x, size_t n, size_t first, size_t end, double *work,
                      struct hill_fit *f)
{
    struct powerlaw_fit p;

    if (powerlaw_fit_among(x, n, first, end, work, &p, NULL) < 0)
        f->status = HILL_NO_CANDIDATE;
    else
        settle(f, x, n - p.n_tail, p.alpha, p.D);
}

static void fit_peak(const double *x, size_t n, bool upstream, double *work, struct hill_fit *f)
{
    double peak, low;
    size_t first = 0, end;

    if (!(log10(x[n - 1]) > log10(x[0]))) {
        f->status = HILL_ALL_EQUAL;
        return;
    }
    peak = hill_peak(x, n);
    low = upstream ? log10(PEAK_BELOW * peak) : PEAK_BELOW * peak;
    while (first < n && x[first] < low)
        first++;
    for (end = first; end + 1 < n && x[end] <= PEAK_ABOVE * peak;)
        end++;
    fit_among(x, n, first, end, work, f);
}

static const struct hill_fit none = {.status = HILL_TOO_FEW, .alpha = NAN, .D = NAN, .xmin = NAN};

int hill_fit_from(const double *x, size_t n, const struct hill_start *start, double eps,
                  struct hill_fit *out, struct err *err)
{
    struct hill_fit f = none;
    int r = check(x, n, err);

    if (r == 0 && !(start->pos > 1 && start->pos <= HILL_POS_MAX))
        r = err_set(err, ERR_INVALID, "the position of the start must be above 1, at most %g",
                    HILL_POS_MAX);
    if (r < 0)
        return r;
    f.n_zero = hill_zeros(x, n, eps);
    if (n - f.n_zero >= 2)
        fit_from(x + f.n_zero, n - f.n_zero, start, &f);
    *out = f;
    return 0;
}

int hill_fit(const double *x, size_t n, enum hill_rule rule, double eps, double *work,
             struct hill_fit *out, struct err *err)
{
    static const struct hill_start middle = {.pos = 2};
    struct hill_fit f = none;
    int r = check(x, n, err);

    if (r < 0)
        return r;
    f.n_zero = hill_zeros(x, n, eps);
    x += f.n_zero;
    n -= f.n_zero;
    if (n >= 2 && rule == HILL_MID)
        fit_from(x, n, &middle, &f);
    else if (n >= 2 && rule == HILL_TOP)
        fit_top(x, n, &f);
    else if (n >= 2 && rule == HILL_KS)
        fit_among(x, n, 0, n - 1, work, &f);
    else if (n >= 2)
        fit_peak(x, n, rule == HILL_PEAK_UPSTREAM, work, &f);
    *out = f;
    return 0;
}
