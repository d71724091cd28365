/* analysis_plot.c: see analysis_plot.h. */
#include "api/analysis_plot.h"

#include "api/svg.h"
#include "daemon/layer_analysis.h"
#include "daemon/row_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALPHA_MAX 12.0 /* larger exponents are shown there */
#define ALPHA_BIN 0.25
#define BINS      50 /* more than ALPHA_MAX / ALPHA_BIN */
#define READ_ROWS 1000

/* Where layers are well trained. */
#define GOOD_LOW  2.0
#define GOOD_HIGH 6.0

const char *analysis_plot_name(enum analysis_plot_kind k)
{
    static const char *const names[] = {"alpha_hist", "alpha_depth", "alpha_D", "scale_depth"};

    _Static_assert(ARRAY_LEN(names) == ANALYSIS_PLOT_COUNT, "a name for each");
    return names[k];
}

/* --- reading --------------------------------------------------------------------------------- */

void analysis_points_done(struct analysis_points *ps)
{
    for (size_t i = 0; i < ps->n; i++)
        free(ps->p[i].name);
    free(ps->p);
    free(ps->model);
    *ps = (struct analysis_points){.n = 0};
}

static char *text(const struct row_text *row, const char *name)
{
    const struct row_member *m = row_text_find(row, name, 0);
    struct buf b = BUF_INIT;

    if (m)
        (void)row_text_plain(m, &b);
    buf_put_u8(&b, '\0');
    return (char *)b.data;
}

/* A product of other rows is no layer. */
static bool is_product(const struct row_text *row)
{
    const struct row_member *m = row_text_find(row, "operation", 0);

    return m && row_text_matches(m, "product", false);
}

static int take_row(const struct layer_row *row, struct analysis_points *ps, struct err *err)
{
    struct analysis_point *p;
    struct row_text t;
    double alpha;

    if (!row_text_parse(row->json, &t))
        return err_set(err, ERR_INTERNAL, "a row of the analysis is malformed");
    alpha = row_text_real(&t, "alpha");
    if (!isfinite(alpha) || alpha <= 1 || is_product(&t))
        return 0;
    if (ps->n % READ_ROWS == 0)
        ps->p = xrealloc(ps->p, (ps->n + READ_ROWS) * sizeof *ps->p);
    p = &ps->p[ps->n++];
    *p = (struct analysis_point){.name = text(&t, "longname"),
                                 .alpha = alpha,
                                 .D = row_text_real(&t, "D"),
                                 .scale = row_text_real(&t, "log_spectral_norm")};
    AUTO(freep) char *role = text(&t, "role");
    int r = layer_role_from_name(role);

    p->role = r < 0 ? ROLE_OTHER : (enum layer_role)r;
    return 0;
}

static int take_some(struct store *st, const struct digest *key, uint64_t first,
                     struct analysis_points *ps, struct err *err)
{
    struct layer_row_list l = {0};
    int r = store_rows_get(st, key, first, READ_ROWS, &l, err);

    for (size_t i = 0; r == 0 && i < l.count; i++)
        r = take_row(&l.row[i], ps, err);
    layer_row_list_done(&l);
    return r;
}

static int take_name(struct store *st, const char *model, struct analysis_points *ps,
                     struct err *err)
{
    struct model_record rec = {0};
    int r = store_model_get(st, model, &rec, err);

    if (r == 0)
        ps->model = xstrdup(rec.name);
    model_record_done(&rec);
    return r;
}

int analysis_points_read(struct store *st, const char *analysis, struct analysis_points *out,
                         struct err *err)
{
    struct analysis_record rec = {0};
    int r = layer_analysis(st, analysis, &rec, err);

    if (r == 0 && rec.n_layers > ANALYSIS_PLOT_ROWS_MAX)
        r = err_set(err, ERR_LIMIT, "a picture has room for %d layers, not %llu",
                    ANALYSIS_PLOT_ROWS_MAX, (unsigned long long)rec.n_layers);
    if (r == 0)
        r = take_name(st, rec.model, out, err);
    for (uint64_t i = 0; r == 0 && i < rec.n_layers; i += READ_ROWS)
        r = take_some(st, &rec.rows, i, out, err);
    analysis_record_done(&rec);
    return r;
}

/* --- groups of roles ------------------------------------------------------------------------- */

static const char *const groups[SVG_STYLES] = {
    "query, key, value", "attention out",  "gate, up", "down",
    "embedding, head",   "expert, router", "other",    "convolution"};

static size_t group_of(enum layer_role r)
{
    switch (r) {
    case ROLE_Q:
    case ROLE_K:
    case ROLE_V:
    case ROLE_QKV:
        return 0;
    case ROLE_O:
        return 1;
    case ROLE_GATE:
    case ROLE_UP:
    case ROLE_GATE_UP:
        return 2;
    case ROLE_DOWN:
        return 3;
    case ROLE_EMBEDDING:
    case ROLE_HEAD:
        return 4;
    case ROLE_EXPERT:
    case ROLE_ROUTER:
        return 5;
    case ROLE_CONV:
        return 7;
    default:
        return 6;
    }
}

/* Groups that there are get styles in order; returns how many. */
static size_t name_groups(const struct analysis_points *ps, size_t style[SVG_STYLES],
                          const char *names[SVG_STYLES])
{
    bool there[SVG_STYLES] = {false};
    size_t n = 0;

    for (size_t i = 0; i < ps->n; i++)
        there[group_of(ps->p[i].role)] = true;
    for (size_t g = 0; g < SVG_STYLES; g++)
        if (there[g]) {
            style[g] = n;
            names[n++] = groups[g];
        }
    return n;
}

/* --- histogram ------------------------------------------------------------------------------- */

static double shown_alpha(double alpha)
{
    return fmin(alpha, ALPHA_MAX);
}

static double greatest_alpha(const struct analysis_points *ps)
{
    double most = GOOD_HIGH + 0.5;

    for (size_t i = 0; i < ps->n; i++)
        most = fmax(most, shown_alpha(ps->p[i].alpha));
    return ceil(most / ALPHA_BIN) * ALPHA_BIN;
}

static double mean_alpha(const struct analysis_points *ps)
{
    double sum = 0;

    for (size_t i = 0; i < ps->n; i++)
        sum += ps->p[i].alpha;
    return sum / (double)ps->n;
}

static void draw_hist(const char *title, const struct analysis_points *ps, struct buf *out)
{
    static const enum svg_key keys[] = {SVG_KEY_AREA, SVG_KEY_LINE, SVG_KEY_AREA};
    size_t count[BINS] = {0}, most = 1;
    AUTO(freep) char *layers = xasprintf("%zu layers", ps->n);
    AUTO(freep) char *mean = xasprintf("mean %.3f", mean_alpha(ps));
    const char *names[] = {layers, mean, "well trained: 2 to 6"};
    double high = greatest_alpha(ps);
    struct svg_frame f = {.title = title,
                          .about = "How many layers have which power-law exponent",
                          .x = {1, high + ALPHA_BIN, "alpha (12: all larger ones)", .log = false},
                          .legend = names,
                          .n_legend = ARRAY_LEN(names),
                          .key = keys};
    struct svg s;

    for (size_t i = 0; i < ps->n; i++) {
        size_t bin = (size_t)(shown_alpha(ps->p[i].alpha) / ALPHA_BIN);

        most = ++count[bin] > most ? count[bin] : most;
    }
    f.y = (struct svg_axis){0, 1.08 * (double)most, "layers", .whole = true};
    svg_open(&s, out, &f);
    svg_band_x(&s, 2, GOOD_LOW, GOOD_HIGH);
    for (size_t b = 0; b < ARRAY_LEN(count); b++)
        if (count[b] > 0)
            svg_bar(&s, 0, (double)b * ALPHA_BIN, (double)(b + 1) * ALPHA_BIN, (double)count[b]);
    if (mean_alpha(ps) < high)
        svg_upright(&s, 1, mean, mean_alpha(ps));
    svg_close(&s);
}

/* --- points ---------------------------------------------------------------------------------- */

static void value_of(enum analysis_plot_kind k, const struct analysis_points *ps, size_t i,
                     double *x, double *y)
{
    const struct analysis_point *p = &ps->p[i];

    *x = k == ANALYSIS_PLOT_ALPHA_D ? shown_alpha(p->alpha) : (double)i;
    *y = k == ANALYSIS_PLOT_ALPHA_D       ? p->D
         : k == ANALYSIS_PLOT_SCALE_DEPTH ? p->scale
                                          : shown_alpha(p->alpha);
}

static void axes_of(enum analysis_plot_kind k, const struct analysis_points *ps,
                    struct svg_frame *f)
{
    double low = INFINITY, high = -INFINITY, pad;

    for (size_t i = 0; i < ps->n; i++) {
        double x, y;

        value_of(k, ps, i, &x, &y);
        if (isfinite(y)) {
            low = fmin(low, y);
            high = fmax(high, y);
        }
    }
    if (!(low <= high))
        low = high = 0;
    pad = fmax(0.06 * (high - low), 0.05);
    f->x =
        (struct svg_axis){-0.5, (double)ps->n - 0.5, "layer, in the order of depth", .whole = true};
    f->y =
        (struct svg_axis){low - pad, high + pad, "log10 of the largest eigenvalue", false, false};
    if (k == ANALYSIS_PLOT_ALPHA_DEPTH)
        f->y = (struct svg_axis){1, fmax(GOOD_HIGH + 0.5, high + pad),
                                 "alpha (12: all larger ones)", false, false};
    if (k == ANALYSIS_PLOT_ALPHA_D) {
        f->x = (struct svg_axis){1, greatest_alpha(ps) + ALPHA_BIN, "alpha (12: all larger ones)",
                                 false, false};
        f->y = (struct svg_axis){0, high + pad, "Kolmogorov-Smirnov distance D", false, false};
    }
}

static void draw_points(enum analysis_plot_kind k, const char *title,
                        const struct analysis_points *ps, struct buf *out)
{
    static const enum svg_key keys[SVG_STYLES] = {SVG_KEY_MARK, SVG_KEY_MARK, SVG_KEY_MARK,
                                                  SVG_KEY_MARK, SVG_KEY_MARK, SVG_KEY_MARK,
                                                  SVG_KEY_MARK, SVG_KEY_MARK};
    static const char *const about[] = {
        [ANALYSIS_PLOT_ALPHA_DEPTH] = "Power-law exponent of each layer, in the order of depth",
        [ANALYSIS_PLOT_ALPHA_D] = "Power-law exponent of each layer and the distance of its fit",
        [ANALYSIS_PLOT_SCALE_DEPTH] = "Largest eigenvalue of each layer, in the order of depth"};
    size_t style[SVG_STYLES];
    const char *names[SVG_STYLES];
    struct svg_frame f = {.title = title,
                          .about = about[k],
                          .legend = names,
                          .n_legend = name_groups(ps, style, names),
                          .key = keys};
    struct svg s;

    axes_of(k, ps, &f);
    svg_open(&s, out, &f);
    if (k == ANALYSIS_PLOT_ALPHA_DEPTH)
        svg_band_y(&s, 2, GOOD_LOW, GOOD_HIGH);
    if (k == ANALYSIS_PLOT_ALPHA_D)
        svg_band_x(&s, 2, GOOD_LOW, GOOD_HIGH);
    for (size_t i = 0; i < ps->n; i++) {
        const struct analysis_point *p = &ps->p[i];
        AUTO(freep)
        char *says = xasprintf("%s: alpha %.4g, D %.4g, log10 lambda_max %.4g", p->name, p->alpha,
                               p->D, p->scale);
        double x, y;

        value_of(k, ps, i, &x, &y);
        if (isfinite(y))
            svg_mark(&s, style[group_of(p->role)], says, x, y);
    }
    svg_close(&s);
}

int analysis_plot_draw(enum analysis_plot_kind k, const struct analysis_points *ps, struct buf *out,
                       struct err *err)
{
    static const char *const what[] = {"Exponents", "Correlation flow", "Exponents and their fits",
                                       "Scale"};
    AUTO(freep) char *title = xasprintf("%s: %.60s", what[k], ps->model);

    if (ps->n == 0)
        return err_set(err, ERR_NOT_FOUND, "no layer of this analysis has a fit");
    if (k == ANALYSIS_PLOT_ALPHA_HIST)
        draw_hist(title, ps, out);
    else
        draw_points(k, title, ps, out);
    return 0;
}
