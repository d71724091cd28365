/* layer_plot.c: see layer_plot.h. */
#include "api/layer_plot.h"

#include "api/histogram.h"
#include "api/svg.h"
#include "compute/powerlaw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SHOWN 52  /* bytes of the layer's name in a title: its end */
#define CANDIDATES 240 /* tails in the ks picture */
#define CURVE      64  /* points of a curve */

enum { DENSITY = 0, FIT, XMIN, XMAX }; /* styles */

const char *layer_plot_name(enum layer_plot_kind k)
{
    static const char *const names[] = {"esd", "esd_lin", "mp", "rand", "erg", "ks"};

    _Static_assert(ARRAY_LEN(names) == LAYER_PLOT_COUNT, "a name for each");
    return names[k];
}

static bool fitted(const struct layer_plot *p)
{
    return isfinite(p->alpha) && p->xmin > 0 && p->xmax > p->xmin;
}

static size_t tail_size(const struct layer_plot *p)
{
    size_t i = p->n;

    while (i > 0 && p->lambda[i - 1] >= p->xmin)
        i--;
    return p->n - i;
}

char *layer_plot_title(const struct layer_plot *p, const char *what)
{
    size_t len = strlen(p->name), from = 0;

    if (len > NAME_SHOWN)
        from = len - NAME_SHOWN;
    while (from > 0 && from < len && (p->name[from] & 0xc0) == 0x80)
        from++;
    return xasprintf("%s: %s%s", what, from ? "\xE2\x80\xA6" : "", p->name + from);
}

/* --- densities ------------------------------------------------------------------------------- */

struct esd_plot {
    const struct layer_plot *p;
    bool log;
    struct histogram h;
    struct svg_frame f;
    struct svg s;
};

static double scaled(const struct esd_plot *e, double v)
{
    return e->log ? log10(v) : v;
}

/* Density of all eigenvalues that the fit has at x. */
static double fit_density(const struct layer_plot *p, double share, double x)
{
    return share * (p->alpha - 1) / p->xmin * pow(x / p->xmin, -p->alpha);
}

static void draw_fit(struct esd_plot *e, const char *name)
{
    const struct layer_plot *p = e->p;
    double share = (double)tail_size(p) / (double)p->n, x[CURVE], y[CURVE];
    size_t n = 0;

    for (size_t i = 0; i < CURVE; i++) {
        double v = p->xmin * pow(p->xmax / p->xmin, (double)i / (CURVE - 1));
        double d = scaled(e, fit_density(p, share, v));

        if (d < e->f.y.low || d > e->f.y.high || scaled(e, v) < e->f.x.low)
            continue;
        x[n] = scaled(e, v);
        y[n++] = d;
    }
    svg_line(&e->s, FIT, name, x, y, n);
}

/* From the least density above zero to the greatest, or from zero. */
static void density_axis(const struct esd_plot *e, struct svg_axis *y)
{
    double low = INFINITY, high = 0;

    for (size_t i = 0; i < e->h.bins; i++)
        if (e->h.density[i] > 0) {
            low = fmin(low, e->h.density[i]);
            high = fmax(high, e->h.density[i]);
        }
    *y = (struct svg_axis){0, 1.05 * high, "density", .log = e->log};
    if (e->log) {
        y->low = log10(low) - 0.3;
        y->high = log10(high) + 0.2;
    }
}

static void draw_bars(struct esd_plot *e)
{
    for (size_t i = 0; i < e->h.bins; i++)
        if (e->h.density[i] > 0)
            svg_bar(&e->s, DENSITY, scaled(e, e->h.edge[i]), scaled(e, e->h.edge[i + 1]),
                    scaled(e, e->h.density[i]));
}

static size_t bins_for(size_t n)
{
    double bins = 3 * sqrt((double)n);

    return bins < 20 ? 20 : bins > 100 ? 100 : (size_t)bins;
}

static int draw_esd(struct esd_plot *e, struct buf *out, struct err *err)
{
    static const enum svg_key keys[] = {SVG_KEY_AREA, SVG_KEY_LINE, SVG_KEY_LINE, SVG_KEY_LINE};
    const struct layer_plot *p = e->p;
    AUTO(freep) char *title = layer_plot_title(p, "Eigenvalues");
    AUTO(freep)
    char *about = xasprintf("Empirical spectral density of %zu eigenvalues%s", p->n,
                            fitted(p) ? ", with the fitted power law" : "");
    AUTO(freep) char *fit = xasprintf("power law, alpha = %.3f, D = %.3f", p->alpha, p->D);
    AUTO(freep) char *xmin = xasprintf("xmin = %.4g", p->xmin);
    AUTO(freep) char *xmax = xasprintf("xmax = %.4g", p->xmax);
    AUTO(freep)
    char *all = fitted(p) ? xasprintf("%zu eigenvalues, %zu in the tail", p->n, tail_size(p))
                          : xasprintf("%zu eigenvalues", p->n);
    const char *names[] = {all, fit, xmin, xmax};
    const struct histogram *h = &e->h;

    histogram_make(p->lambda, p->n, bins_for(p->n), e->log, p->noise, &e->h);
    if (h->n_nonpositive == p->n || !(h->edge[h->bins] > h->edge[0]))
        return err_set(err, ERR_NOT_FOUND, "the spectrum is zero: there is nothing to draw");
    e->f = (struct svg_frame){.title = title,
                              .about = about,
                              .x = {scaled(e, h->edge[0]), scaled(e, h->edge[h->bins]),
                                    "eigenvalue of W'W", .log = e->log},
                              .legend = names,
                              .n_legend = fitted(p) ? ARRAY_LEN(names) : 1,
                              .key = keys};
    e->f.x.high += 0.015 * (e->f.x.high - e->f.x.low);
    density_axis(e, &e->f.y);
    svg_open(&e->s, out, &e->f);
    draw_bars(e);
    if (fitted(p)) {
        draw_fit(e, fit);
        if (scaled(e, p->xmin) >= e->f.x.low)
            svg_upright(&e->s, XMIN, xmin, scaled(e, p->xmin));
        svg_upright(&e->s, XMAX, xmax, scaled(e, p->xmax));
    }
    svg_close(&e->s);
    return 0;
}

/* --- the search for xmin --------------------------------------------------------------------- */

struct search {
    double xmin[CANDIDATES + 1], D[CANDIDATES + 1], alpha[CANDIDATES + 1]; /* xmin: its logarithm */
    size_t n;
};

/* Tails that start at equal steps between the logarithms of the first and the last candidate. */
static int search_tails(const struct layer_plot *p, struct search *s, struct err *err)
{
    size_t first = 0, m, last = SIZE_MAX;
    AUTO(freep) double *work = NULL;
    double low, high;

    while (first < p->n && p->lambda[first] <= fmax(POWERLAW_THRESHOLD, p->noise))
        first++;
    m = p->n - first;
    if (m < 3)
        return err_set(err, ERR_NOT_FOUND, "there are too few eigenvalues for a fit");
    work = calloc(2 * m, sizeof *work);
    if (!work)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", m);
    low = log(p->lambda[first]);
    high = log(p->lambda[p->n - 2]);
    for (size_t k = 0, i = 0; k <= CANDIDATES; k++) {
        double from = low + (high - low) * (double)k / CANDIDATES;
        struct powerlaw_fit fit;

        while (i + 2 < m && log(p->lambda[first + i]) < from)
            i++;
        if (i == last || powerlaw_fit_among(p->lambda + first, m, i, i + 1, work, &fit, NULL) < 0 ||
            !isfinite(fit.alpha))
            continue;
        last = i;
        s->xmin[s->n] = log10(fit.xmin);
        s->D[s->n] = fit.D;
        s->alpha[s->n++] = fit.alpha;
    }
    return s->n > 1 && s->xmin[s->n - 1] > s->xmin[0]
               ? 0
               : err_set(err, ERR_NOT_FOUND, "there are too few different eigenvalues for a fit");
}

static double greatest(const double *v, size_t n)
{
    double most = v[0];

    for (size_t i = 1; i < n; i++)
        most = fmax(most, v[i]);
    return most;
}

/* A panel: a curve over xmin, and where the fit lies on it. */
static void search_panel(struct svg *s, size_t panel, const struct layer_plot *p,
                         const struct search *r, const double *v, double chosen, const char *label)
{
    struct svg_axis x = {r->xmin[0], r->xmin[r->n - 1], panel ? "xmin, start of the tail" : NULL,
                         .log = true};
    /* Of the last few eigenvalues the exponent may be anything. */
    double most = panel ? fmin(greatest(v, r->n), fmax(10, 2 * chosen)) : greatest(v, r->n);
    struct svg_axis y = {0, 1.08 * most, label, .log = false};
    double curve[CANDIDATES + 1];

    for (size_t i = 0; i < r->n; i++)
        curve[i] = fmin(v[i], y.high);
    svg_panel(s, panel, &x, &y);
    svg_line(s, panel, label, r->xmin, curve, r->n);
    if (fitted(p) && log10(p->xmin) >= x.low && log10(p->xmin) <= x.high) {
        svg_upright(s, XMIN, "xmin", log10(p->xmin));
        svg_mark(s, XMIN, label, log10(p->xmin), fmin(chosen, y.high));
    }
}

static int draw_search(const struct layer_plot *p, struct buf *out, struct err *err)
{
    static const enum svg_key keys[] = {SVG_KEY_LINE, SVG_KEY_LINE, SVG_KEY_BOTH};
    AUTO(freep) struct search *r = xcalloc(1, sizeof *r);
    AUTO(freep) char *title = layer_plot_title(p, "Search for xmin");
    AUTO(freep) char *chosen = xasprintf("xmin = %.4g", p->xmin);
    const char *names[] = {"distance D", "exponent alpha", chosen};
    struct svg_frame f = {.title = title,
                          .about = "Kolmogorov-Smirnov distance and exponent of the power law "
                                   "fitted to the eigenvalues from xmin on",
                          .legend = names,
                          .n_legend = fitted(p) ? 3 : 2,
                          .key = keys,
                          .panels = 2};
    struct svg s;
    int rc = search_tails(p, r, err);

    if (rc < 0)
        return rc;
    svg_open(&s, out, &f);
    search_panel(&s, 0, p, r, r->D, p->D, "D");
    search_panel(&s, 1, p, r, r->alpha, p->alpha, "alpha");
    svg_close(&s);
    return 0;
}

int layer_plot_draw(enum layer_plot_kind k, const struct layer_plot *p, struct buf *out,
                    struct err *err)
{
    AUTO(freep) struct esd_plot *e = NULL;

    switch (k) {
    case LAYER_PLOT_MP:
        return layer_plot_mp(p, out, err);
    case LAYER_PLOT_RAND:
        return layer_plot_rand(p, out, err);
    case LAYER_PLOT_ERG:
        return layer_plot_erg(p, out, err);
    case LAYER_PLOT_KS:
        return draw_search(p, out, err);
    default:
        break;
    }
    e = xcalloc(1, sizeof *e);
    e->p = p;
    e->log = k == LAYER_PLOT_ESD;
    return draw_esd(e, out, err);
}
