/* layer_plot_rand.c: a spectrum beside that of the same weights in random order. See layer_plot.h.
 */
#include "api/layer_plot.h"

#include "api/histogram.h"
#include "api/svg.h"

#include <math.h>
#include <stdlib.h>

#define BINS 60

enum { WEIGHTS = 0, SHUFFLED, LARGEST };

/* Shares of n ascending values in BINS bins of equal ratio between two logarithms. */
static double count_shares(const double *x, size_t n, double low, double high, double *share)
{
    double most = 0;

    for (size_t b = 0; b < BINS; b++)
        share[b] = 0;
    for (size_t i = 0; i < n; i++) {
        double at = x[i] > 0 ? (log10(x[i]) - low) / (high - low) * BINS : -1;

        if (at >= 0)
            share[at < BINS ? (size_t)at : BINS - 1] += 1 / (double)n;
    }
    for (size_t b = 0; b < BINS; b++)
        most = fmax(most, share[b]);
    return most;
}

static void draw_bars(struct svg *s, size_t style, const double *share)
{
    double width = (s->x.high - s->x.low) / BINS;

    for (size_t b = 0; b < BINS; b++)
        if (share[b] > 0)
            svg_bar(s, style, s->x.low + (double)b * width, s->x.low + (double)(b + 1) * width,
                    share[b]);
}

/* The smallest eigenvalues say little and reach far: from the hundredth part of the lower tenth. */
static double lowest(const double *x, size_t n)
{
    double tenth = x[n / 10];

    return fmax(x[0], tenth / 100);
}

int layer_plot_rand(const struct layer_plot *p, struct buf *out, struct err *err)
{
    static const enum svg_key keys[] = {SVG_KEY_AREA, SVG_KEY_AREA, SVG_KEY_LINE};
    AUTO(freep) char *title = layer_plot_title(p, "Weights and chance");
    double low, high, most, of_weights[BINS], of_shuffled[BINS];

    if (!p->null || p->n == 0 || !(p->lambda[p->n - 1] > 0) || !(p->null[p->n - 1] > 0))
        return err_set(err, ERR_NOT_FOUND, "the spectrum is zero: there is nothing to draw");
    AUTO(freep) char *largest = xasprintf("largest when shuffled: %.4g", p->null[p->n - 1]);
    const char *names[] = {"eigenvalues", "weights shuffled", largest};
    struct svg_frame f = {.title = title,
                          .about = "Eigenvalues of the weights, and of the same weights in random "
                                   "order",
                          .legend = names,
                          .n_legend = ARRAY_LEN(names),
                          .key = keys};
    struct svg s;

    high = log10(fmax(p->lambda[p->n - 1], p->null[p->n - 1]));
    low = fmin(lowest(p->lambda, p->n), lowest(p->null, p->n));
    low = low > 0 ? log10(low) : high - 6;
    if (high - low < 0.1)
        low = high - 0.1;
    high += 0.015 * (high - low);
    most = fmax(count_shares(p->lambda, p->n, low, high, of_weights),
                count_shares(p->null, p->n, low, high, of_shuffled));
    f.x = (struct svg_axis){low, high, "eigenvalue of W'W", .log = true};
    f.y = (struct svg_axis){0, 1.08 * most, "share of eigenvalues", .log = false};
    svg_open(&s, out, &f);
    draw_bars(&s, SHUFFLED, of_shuffled);
    draw_bars(&s, WEIGHTS, of_weights);
    svg_upright(&s, LARGEST, largest, log10(p->null[p->n - 1]));
    svg_close(&s);
    return 0;
}
