/* layer_compare_plot.c: pictures of a comparison. */
#include "api/layer_compare_data.h"

#include "api/svg.h"
#include "compute/model_summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALPHA_SHOWN 12.0 /* larger exponents are drawn there */
#define MOVED_LINES 5    /* beside the mean */
#define NAME_SHOWN  34   /* characters of a layer's name in the legend: its end */

const char *layer_compare_plot_name(enum layer_compare_plot k)
{
    return k == LAYER_COMPARE_PLOT_TREND ? "trend" : "alpha_scatter";
}

static double shown(const struct layer_compare *c, size_t m, double x)
{
    return m == c->alpha && x > ALPHA_SHOWN ? ALPHA_SHOWN : x;
}

/* --- exponents before and after -------------------------------------------------------------- */

enum fate { FATE_GOOD = 0, FATE_LEFT, FATE_CAME, FATE_BAD };

static bool is_good(double alpha)
{
    return alpha >= ALPHA_LOW && alpha <= ALPHA_HIGH;
}

static enum fate fate_of(double before, double after)
{
    if (is_good(before))
        return is_good(after) ? FATE_GOOD : FATE_LEFT;
    return is_good(after) ? FATE_CAME : FATE_BAD;
}

/* Both exponents of a layer; false when it has not both. */
static bool ends_of(const struct layer_compare *c, size_t layer, double *before, double *after)
{
    const double *x = layer_compare_values(c, layer, c->alpha);

    *before = x[0];
    *after = x[c->n - 1];
    return isfinite(*before) && isfinite(*after);
}

static bool find_range(const struct layer_compare *c, struct svg_axis *x, struct svg_axis *y)
{
    double low = ALPHA_LOW, high = ALPHA_HIGH, before, after;
    bool any = false;

    for (size_t i = 0; i < c->n_layers; i++)
        if (ends_of(c, i, &before, &after)) {
            low = fmin(low, fmin(before, after));
            high = fmax(high, shown(c, c->alpha, fmax(before, after)));
            any = true;
        }
    *x = (struct svg_axis){fmin(1, floor(low)), high + 0.5,
                           "alpha in the first analysis (12: all larger ones)", false, false};
    *y = (struct svg_axis){fmin(1, floor(low)), high + 0.5, "alpha in the last analysis", false,
                           false};
    return any;
}

static void mark_layers(const struct layer_compare *c, struct svg *s)
{
    double before, after;

    for (size_t i = 0; i < c->n_layers; i++) {
        AUTO(freep) char *says = NULL;

        if (!ends_of(c, i, &before, &after))
            continue;
        says = xasprintf("%s: alpha %.4g, then %.4g", c->layer[i].longname, before, after);
        svg_mark(s, fate_of(before, after), says, shown(c, c->alpha, before),
                 shown(c, c->alpha, after));
    }
}

static int draw_scatter(const struct layer_compare *c, struct buf *out, struct err *err)
{
    static const char *const names[] = {"well trained: stays in 2 to 6", "leaves 2 to 6",
                                        "comes into 2 to 6", "stays outside", "no change"};
    static const enum svg_key keys[] = {SVG_KEY_MARK, SVG_KEY_MARK, SVG_KEY_MARK, SVG_KEY_MARK,
                                        SVG_KEY_LINE};
    struct svg_frame f = {.title = "Exponents before and after",
                          .about = "Power-law exponents of the layers in the last analysis over "
                                   "those in the first",
                          .legend = names,
                          .n_legend = ARRAY_LEN(names),
                          .key = keys};
    struct svg s;

    if (!find_range(c, &f.x, &f.y))
        return err_set(err, ERR_NOT_FOUND, "no layer has an exponent in both analyses");
    svg_open(&s, out, &f);
    svg_band_x(&s, FATE_GOOD, ALPHA_LOW, ALPHA_HIGH);
    svg_band_y(&s, FATE_GOOD, ALPHA_LOW, ALPHA_HIGH);
    svg_line(&s, ARRAY_LEN(names) - 1, names[ARRAY_LEN(names) - 1],
             (const double[]){f.x.low, f.x.high}, (const double[]){f.x.low, f.x.high}, 2);
    mark_layers(c, &s);
    svg_close(&s);
    return 0;
}

/* --- over the analyses ----------------------------------------------------------------------- */

struct trend_line {
    char *name, *legend;
    double x[COMPARE_ANALYSES_MAX], y[COMPARE_ANALYSES_MAX]; /* where there is a number */
    size_t n;
};

/* The end of a name is what tells layers apart. Not inside a character. */
static char *short_name(const char *name)
{
    size_t len = strlen(name);
    const char *s = name + (len > NAME_SHOWN ? len - NAME_SHOWN + 2 : 0);

    while ((*s & 0xc0) == 0x80)
        s++;
    return xasprintf("%s%s", s > name ? ".." : "", s);
}

static void set_line(const struct layer_compare *c, size_t m, const char *name, const double *y,
                     struct trend_line *l)
{
    l->name = xstrdup(name);
    l->legend = short_name(name);
    l->n = 0;
    for (size_t i = 0; i < c->n; i++)
        if (isfinite(y[i])) {
            l->x[l->n] = c->item[i].at;
            l->y[l->n++] = shown(c, m, y[i]);
        }
}

/* The mean, and the layers that moved most. */
static int find_lines(const struct layer_compare *c, size_t m, struct trend_line *line, size_t *n,
                      struct err *err)
{
    AUTO(freep) struct layer_move *moved = NULL;
    double mean[COMPARE_ANALYSES_MAX];
    size_t count = layer_compare_mean(c, m, mean), n_moved;
    int r = layer_compare_moved(c, m, &moved, &n_moved, err);

    if (r < 0)
        return r;
    if (count > 0)
        set_line(c, m, "mean of all layers", mean, &line[(*n)++]);
    for (size_t i = 0; i < n_moved && i < MOVED_LINES; i++)
        set_line(c, m, c->layer[moved[i].layer].longname,
                 layer_compare_values(c, moved[i].layer, m), &line[(*n)++]);
    if (*n == 0)
        return err_set(err, ERR_NOT_FOUND, "no layer has this metric in both analyses");
    return 0;
}

static void trend_axes(const struct layer_compare *c, size_t m, const struct trend_line *line,
                       size_t n, struct svg_frame *f)
{
    double low = INFINITY, high = -INFINITY, first = c->item[0].at, last = c->item[c->n - 1].at,
           pad;

    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < line[k].n; i++) {
            low = fmin(low, line[k].y[i]);
            high = fmax(high, line[k].y[i]);
        }
    pad = fmax(0.06 * (high - low), fmax(1e-9, 1e-3 * fmax(fabs(low), fabs(high))));
    f->y = (struct svg_axis){low - pad, high + pad,
                             m == c->alpha ? "alpha (12: all larger ones)" : c->metric[m], false,
                             false};
    pad = last > first ? 0.03 * (last - first) : fmax(0.5, 1e-3 * fabs(first));
    f->x = (struct svg_axis){first - pad, last + pad,
                             *c->ask.step_label ? c->ask.step_label
                                                : "analysis, in the order asked for",
                             .whole = !*c->ask.step_label};
}

static void draw_lines(const struct layer_compare *c, size_t m, const struct trend_line *line,
                       size_t n, struct buf *out)
{
    AUTO(freep) char *title = xasprintf("%s: the layers that moved most", c->metric[m]);
    const char *names[MOVED_LINES + 1];
    struct svg_frame f = {.title = title,
                          .about = "A metric over the analyses: its mean, and the layers that "
                                   "moved most",
                          .legend = names,
                          .n_legend = n};
    struct svg s;

    for (size_t k = 0; k < n; k++)
        names[k] = line[k].legend;
    trend_axes(c, m, line, n, &f);
    svg_open(&s, out, &f);
    if (m == c->alpha)
        svg_band_y(&s, 2, ALPHA_LOW, ALPHA_HIGH);
    for (size_t k = n; k-- > 0;) { /* the mean last: on top */
        svg_line(&s, k, line[k].name, line[k].x, line[k].y, line[k].n);
        for (size_t i = 0; i < line[k].n; i++) {
            AUTO(freep)
            char *says = xasprintf("%s: %.6g at %.10g", line[k].name, line[k].y[i], line[k].x[i]);

            svg_mark(&s, k, says, line[k].x[i], line[k].y[i]);
        }
    }
    svg_close(&s);
}

static int draw_trend(const struct layer_compare *c, struct buf *out, struct err *err)
{
    struct trend_line *line = xcalloc(MOVED_LINES + 1, sizeof *line);
    size_t n = 0;
    int r = find_lines(c, 0, line, &n, err);

    if (r == 0)
        draw_lines(c, 0, line, n, out);
    for (size_t k = 0; k < n; k++) {
        free(line[k].name);
        free(line[k].legend);
    }
    free(line);
    return r;
}

int layer_compare_draw(const struct layer_compare *c, enum layer_compare_plot kind, struct buf *out,
                       struct err *err)
{
    return kind == LAYER_COMPARE_PLOT_TREND ? draw_trend(c, out, err) : draw_scatter(c, out, err);
}
