/* layer_plot_erg.c: the trace-log condition: see layer_plot.h and compute/erg.h. */
#include "api/layer_plot.h"

#include "api/svg.h"
#include "compute/erg.h"

#include <math.h>
#include <stdlib.h>

#define POINTS 400 /* at most */

enum { SUM = 0, START, XMIN };

struct sums {
    double *x, *y; /* logarithm of where the tail starts; sum of logarithms in it */
    size_t n;
    double most;
};

/* From the largest eigenvalue down, until the sum is as far below 0 as it was above. */
static int add_up(const struct layer_plot *p, struct sums *s, struct err *err)
{
    double mean = 0, sum = 0;

    for (size_t i = 0; i < p->n; i++)
        mean += p->lambda[i] / (double)p->n;
    s->x = calloc(p->n, sizeof *s->x);
    s->y = calloc(p->n, sizeof *s->y);
    if (!s->x || !s->y)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", p->n);
    for (size_t i = p->n; i-- > 0 && p->lambda[i] > 0;) {
        sum += log(p->lambda[i] / mean);
        s->most = fmax(s->most, sum);
        if (sum < -0.6 * s->most - 1)
            break;
        s->x[s->n] = log10(p->lambda[i]);
        s->y[s->n++] = sum;
    }
    return 0;
}

/* So many points that a picture shows. */
static void thin(struct sums *s)
{
    size_t step = s->n / POINTS + 1, n = 0;

    for (size_t i = 0; i < s->n; i++)
        if (i % step == 0 || i == s->n - 1) {
            s->x[n] = s->x[i];
            s->y[n++] = s->y[i];
        }
    s->n = n;
}

static void draw(const struct layer_plot *p, const struct sums *t, const struct erg *e,
                 struct buf *out)
{
    static const enum svg_key keys[] = {SVG_KEY_LINE, SVG_KEY_LINE, SVG_KEY_LINE};
    AUTO(freep) char *title = layer_plot_title(p, "Trace-log condition");
    AUTO(freep) char *start = xasprintf("it is 0 at detX_val = %.4g", e->lambda);
    AUTO(freep) char *xmin = xasprintf("power law from xmin = %.4g", p->xmin);
    const char *names[] = {"sum of ln eigenvalue, at mean 1", start, xmin};
    bool fitted = isfinite(p->xmin) && p->xmin > 0 && log10(p->xmin) <= t->x[0];
    double low = fmin(t->x[t->n - 1], fitted ? log10(p->xmin) : t->x[0]), least = 0;
    struct svg_frame f = {.title = title,
                          .about = "Sum of the logarithms of all eigenvalues from some value on, "
                                   "against that value",
                          .legend = names,
                          .n_legend = fitted ? 3 : 2,
                          .key = keys};
    struct svg s;

    for (size_t i = 0; i < t->n; i++)
        least = fmin(least, t->y[i]);
    if (t->x[0] - low < 0.1)
        low = t->x[0] - 0.1;
    f.x = (struct svg_axis){low, t->x[0] + 0.02 * (t->x[0] - low), "where the tail starts",
                            .log = true};
    f.y = (struct svg_axis){1.08 * least - 0.1, 1.08 * t->most + 0.1, "trace-log of the tail",
                            .log = false};
    svg_open(&s, out, &f);
    svg_level(&s, START, "0", 0);
    svg_line(&s, SUM, names[SUM], t->x, t->y, t->n);
    if (log10(e->lambda) >= low)
        svg_upright(&s, START, start, log10(e->lambda));
    if (fitted)
        svg_upright(&s, XMIN, xmin, log10(p->xmin));
    svg_close(&s);
}

int layer_plot_erg(const struct layer_plot *p, struct buf *out, struct err *err)
{
    struct sums t = {NULL, NULL, 0, 0};
    struct erg e;
    int r;

    if (p->n < 2 || !(p->lambda[p->n - 1] > 0))
        return err_set(err, ERR_NOT_FOUND, "there are too few eigenvalues");
    r = erg_condition(p->lambda, p->n, true, false, &e, err);
    if (r == 0)
        r = add_up(p, &t, err);
    if (r == 0) {
        thin(&t);
        draw(p, &t, &e, out);
    }
    free(t.x);
    free(t.y);
    return r;
}
