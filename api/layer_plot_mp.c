/* layer_plot_mp.c: the bulk of a spectrum and the law that noise follows. See layer_plot.h. */
#include "api/layer_plot.h"

#include "api/histogram.h"
#include "api/svg.h"
#include "compute/marchenko_pastur.h"
#include "compute/mp_fit.h"

#include <math.h>
#include <stdlib.h>

#define BEYOND 1.6 /* times the edge: what is drawn */
#define CURVE  160

enum { BULK = 0, LAW, EDGE, BULK_EDGE };

/* Q and sigma of the law in the units of the eigenvalues, from its edges. */
static void law_of(const struct mp_fit *f, double *q, double *sigma)
{
    double root = sqrt(f->bulk_max / fmax(f->bulk_min, 1e-12 * f->bulk_max));
    double root_q = (root + 1) / (root - 1);

    *q = root_q * root_q;
    *sigma = sqrt(f->bulk_max) / (1 + 1 / root_q);
}

static void draw_law(struct svg *s, const struct mp_fit *f, size_t n, const char *name)
{
    double q, sigma, x[CURVE], y[CURVE], share = (double)f->num_bulk / (double)n;
    size_t points = 0;

    law_of(f, &q, &sigma);
    for (size_t i = 0; i < CURVE; i++) {
        /* Dense at the edges, where the law is steep. */
        double t = (1 - cos(M_PI * (double)i / (CURVE - 1))) / 2;
        double v = f->bulk_min + t * (f->bulk_max - f->bulk_min);
        double d = share * mp_density(v, q, sigma);

        if (!(d <= s->y.high))
            continue;
        x[points] = v;
        y[points++] = d;
    }
    svg_line(s, LAW, name, x, y, points);
}

static size_t bins_for(size_t n)
{
    double bins = 2 * sqrt((double)n);

    return bins < 20 ? 20 : bins > 100 ? 100 : (size_t)bins;
}

static void draw_bars(struct svg *s, const struct histogram *h, double share)
{
    for (size_t i = 0; i < h->bins; i++)
        if (h->count[i] > 0)
            svg_bar(s, BULK, h->edge[i], h->edge[i + 1], share * h->density[i]);
}

static double highest(const struct histogram *h, double share)
{
    double high = 0;

    for (size_t i = 0; i < h->bins; i++)
        high = fmax(high, share * h->density[i]);
    return high;
}

static void draw(const struct layer_plot *p, const struct mp_fit *f, const struct histogram *h,
                 size_t shown, struct buf *out)
{
    static const enum svg_key keys[] = {SVG_KEY_AREA, SVG_KEY_LINE, SVG_KEY_LINE, SVG_KEY_LINE};
    AUTO(freep) char *title = layer_plot_title(p, "Bulk and noise");
    AUTO(freep)
    char *all = xasprintf("%zu of %zu eigenvalues", shown, p->n);
    AUTO(freep)
    char *law =
        xasprintf("Marchenko-Pastur, sigma %.3f (%s)", f->sigma, mp_fit_method_name(f->method));
    AUTO(freep)
    char *edge = xasprintf("edge %.4g: %zu spikes above", f->edge, f->num_spikes);
    AUTO(freep) char *bulk = xasprintf("bulk_max %.4g", f->bulk_max);
    const char *names[] = {all, law, edge, bulk};
    double share = (double)shown / (double)p->n;
    struct svg_frame frame = {.title = title,
                              .about = "Empirical density of the smaller eigenvalues and the "
                                       "Marchenko-Pastur law fitted to them",
                              .x = {0, BEYOND * f->edge, "eigenvalue of W'W", .log = false},
                              .y = {0, 1.08 * highest(h, share), "density", .log = false},
                              .legend = names,
                              .n_legend = ARRAY_LEN(names),
                              .key = keys};
    struct svg s;

    svg_open(&s, out, &frame);
    draw_bars(&s, h, share);
    draw_law(&s, f, p->n, law);
    svg_upright(&s, BULK_EDGE, bulk, f->bulk_max);
    svg_upright(&s, EDGE, edge, f->edge);
    svg_close(&s);
}

int layer_plot_mp(const struct layer_plot *p, struct buf *out, struct err *err)
{
    const struct mp_fit_options opt = {.method = p->upstream ? MP_FIT_UPSTREAM : MP_FIT_ROBUST};
    AUTO(freep) double *work = calloc(p->n + 1, sizeof *work);
    AUTO(freep) struct histogram *h = xmalloc(sizeof *h);
    struct mp_fit f;
    size_t shown = 0;
    int r;

    if (!work)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", p->n);
    r = p->n ? mp_fit(p->lambda, p->n, p->n_long, p->n_short, &opt, work, &f, err) : ERR_NUMERIC;
    while (r == 0 && shown < p->n && p->lambda[shown] <= BEYOND * f.edge)
        shown++;
    if (r == ERR_NUMERIC || (r == 0 && shown == 0))
        return err_set(err, ERR_NOT_FOUND, "there are too few eigenvalues for a fit");
    if (r < 0)
        return r;
    histogram_make(p->lambda, shown, bins_for(shown), false, 0, h);
    draw(p, &f, h, shown, out);
    return 0;
}
