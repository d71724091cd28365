/* analyze_summary.c: what the rows of an analysis say together. The arithmetic is
 * compute/model_summary.h's. */
#include "daemon/analyze.h"

#include "common/json_text.h"
#include "compute/model_summary.h"
#include "compute/phase.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Names come from files that anybody may have written, and lists hold many analyses. */
#define LIST_ROWS_MAX  32
#define LIST_BYTES_MAX 4096 /* of names in a list */

/* A kind of layer: those of one kind are alike in shape, scale and purpose. */
#define KINDS ((size_t)TYPE_COUNT * ROLE_COUNT)

/* One number for each row; NaN: none. */
struct summing {
    const struct analyze *a;
    size_t n;
    size_t *kind;
    double *alpha;      /* of rows with a fit */
    double *log_lambda; /* log10 of the largest eigenvalue, of rows with a spectrum */
    double *v;          /* room for n */
    bool *none;         /* all false */
};

static void summing_done(struct summing *s)
{
    free(s->kind);
    free(s->alpha);
    free(s->log_lambda);
    free(s->v);
    free(s->none);
}

/* Products of rows say nothing about the model that their factors do not. */
static size_t rows_of_model(const struct analyze *a)
{
    return a->layers.count - a->n_products;
}

static struct summing summing_new(const struct analyze *a)
{
    size_t n = rows_of_model(a);
    struct summing s = {.a = a,
                        .n = n,
                        .kind = xcalloc(n + 1, sizeof *s.kind),
                        .alpha = xcalloc(n + 1, sizeof *s.alpha),
                        .log_lambda = xcalloc(n + 1, sizeof *s.log_lambda),
                        .v = xcalloc(n + 1, sizeof *s.v),
                        .none = xcalloc(n + 1, sizeof *s.none)};

    for (size_t i = 0; i < n; i++) {
        const struct layer *l = &a->layers.l[i];
        const struct layer_work *w = analyze_work_of(a, i);

        s.kind[i] = (size_t)l->type * ROLE_COUNT + (size_t)l->role;
        s.alpha[i] = analyze_fit_ok(w) ? w->values.v[COL_ALPHA] : NAN;
        s.log_lambda[i] = w->outcome == OUT_DONE ? w->values.v[COL_LOG_SPECTRAL_NORM] : NAN;
    }
    return s;
}

static bool skipped(const struct summing *s, size_t i)
{
    return analyze_work_of(s->a, i)->outcome == OUT_SKIPPED;
}

/* --- means --------------------------------------------------------------------------------- */

/* What upstream's get_summary() averages. */
static const enum column summary_columns[] = {COL_LOG_NORM,          COL_ALPHA,
                                              COL_ALPHA_WEIGHTED,    COL_LOG_ALPHA_NORM,
                                              COL_LOG_SPECTRAL_NORM, COL_STABLE_RANK};

/* Upstream averages failed rows too, with alpha = -1. */
static bool averaged(const struct analyze *a, const struct layer_work *w)
{
    return a->params.compat ? w->outcome == OUT_DONE : analyze_fit_ok(w);
}

/* The value of a measure's column; NaN where there is none. */
static double measured(const struct analyze *a, size_t i, enum measure m, const char *column)
{
    const struct measure_info *info = measure_info(m);
    const char *failed;
    const struct measure_result *v =
        analyze_measured(a, a->lw[i].leader >= 0 ? (size_t)a->lw[i].leader : i, m, &failed);

    for (size_t k = 0; v && k < info->n_columns; k++)
        if (strcmp(info->column[k].name, column) == 0)
            return v->v[k];
    return NAN;
}

static bool asked_for(const struct analyze *a, enum measure m)
{
    return a->params.measures & 1u << m;
}

/* Mean into `means` and median into `medians`, of what s->v holds; it is destroyed. */
static void put_mean(struct buf *means, struct buf *medians, const char *name, struct summing *s)
{
    size_t m = 0;

    /* NaN is left out, as pandas does. */
    json_text_key_real(means, name, column_mean_upstream(s->v, s->none, s->n));
    for (size_t i = 0; i < s->n; i++)
        if (!isnan(s->v[i]))
            s->v[m++] = s->v[i];
    json_text_key_real(medians, name, median_of(s->v, m));
}

static void put_means(struct buf *b, struct summing *s)
{
    struct buf medians = BUF_INIT;

    buf_printf(&medians, "{");
    for (size_t k = 0; k < ARRAY_LEN(summary_columns); k++) {
        enum column c = summary_columns[k];

        for (size_t i = 0; i < s->n; i++) {
            const struct layer_work *w = analyze_work_of(s->a, i);

            s->v[i] = averaged(s->a, w) ? w->values.v[c] : NAN;
        }
        put_mean(b, &medians, column_info(c)->name, s);
    }
    if (asked_for(s->a, MEASURE_MP)) {
        for (size_t i = 0; i < s->n; i++)
            s->v[i] = averaged(s->a, analyze_work_of(s->a, i))
                          ? measured(s->a, i, MEASURE_MP, "mp_softrank")
                          : NAN;
        put_mean(b, &medians, "mp_softrank", s);
    }
    buf_printf(&medians, "}");
    json_text_key(b, "median");
    buf_put(b, medians.data, medians.len);
    buf_done(&medians);
}

/* --- counts -------------------------------------------------------------------------------- */

struct counts {
    uint64_t success, failed, skipped, under, over, skip[SKIP_COUNT];
};

static struct counts count_rows(const struct analyze *a)
{
    struct counts n = {0};

    for (size_t i = 0; i < rows_of_model(a); i++) {
        const struct layer_work *w = analyze_work_of(a, i);

        if (w->outcome == OUT_SKIPPED) {
            n.skipped++;
            n.skip[a->layers.l[i].skip]++;
        } else if (analyze_fit_ok(w)) {
            const char *warning = layer_warning(w->values.v[COL_ALPHA]);

            n.success++;
            n.under += strcmp(warning, "under-trained") == 0;
            n.over += strcmp(warning, "over-trained") == 0;
        } else {
            n.failed++;
        }
    }
    return n;
}

static void put_counts(struct buf *b, const struct counts *n, const struct analyze *a)
{
    json_text_key_int(b, "rows_averaged",
                      (int64_t)(a->params.compat ? n->success + n->failed : n->success));
    json_text_key_string(
        b, "rows_averaged_rule",
        a->params.compat ? "every row with a spectrum; failed fits count as -1, as upstream does"
                         : "rows with status success");
    json_text_key_int(b, "rows_total", (int64_t)rows_of_model(a));
    if (a->n_products)
        json_text_key_int(b, "rows_of_products", (int64_t)a->n_products);
    json_text_key_int(b, "rows_success", (int64_t)n->success);
    json_text_key_int(b, "rows_failed", (int64_t)n->failed);
    json_text_key_int(b, "rows_skipped", (int64_t)n->skipped);
    json_text_key(b, "skipped_by_reason");
    buf_printf(b, "{");
    for (int r = 1; r < SKIP_COUNT; r++)
        if (n->skip[r])
            json_text_key_int(b, skip_reason_name((enum skip_reason)r), (int64_t)n->skip[r]);
    buf_printf(b, "}");
    json_text_key_int(b, "under_trained", (int64_t)n->under);
    json_text_key_int(b, "over_trained", (int64_t)n->over);
}

static void put_phases(struct buf *b, const struct analyze *a)
{
    uint64_t n[PHASE_COUNT] = {0};

    for (size_t i = 0; i < a->layers.count; i++) {
        double kind = measured(a, i, MEASURE_PHASE, "phase");

        if (kind >= 0 && kind < PHASE_COUNT)
            n[(size_t)kind]++;
    }
    json_text_key(b, "phases");
    buf_printf(b, "{");
    for (size_t k = 0; k < PHASE_COUNT; k++)
        if (n[k])
            json_text_key_int(b, phase_name((enum phase_kind)k), (int64_t)n[k]);
    buf_printf(b, "}");
}

/* --- alpha-hat ----------------------------------------------------------------------------- */

/* Mean of alpha log10 lambda_max, lambda of W'W as everywhere here, and of W'W / N. */
static int put_alpha_hat(struct buf *b, struct summing *s, struct err *err)
{
    AUTO(freep) double *over_n = xcalloc(s->n + 1, sizeof *over_n);
    struct column_summary plain, scaled;
    int r;

    for (size_t i = 0; i < s->n; i++) {
        const struct layer_work *w = analyze_work_of(s->a, i);
        uint64_t n_long, n_short;

        layer_sides(&s->a->layers.l[i], false, &n_long, &n_short);
        s->v[i] = analyze_fit_ok(w) ? w->values.v[COL_ALPHA_WEIGHTED] : NAN;
        over_n[i] = s->v[i] - s->alpha[i] * log10((double)n_long);
    }
    r = column_summary(s->v, s->n, &plain, err);
    if (r == 0)
        r = column_summary(over_n, s->n, &scaled, err);
    if (r < 0)
        return r;
    json_text_key(b, "alpha_hat");
    buf_printf(b, "{");
    json_text_key_int(b, "rows", (int64_t)plain.n);
    json_text_key_real(b, "mean", plain.mean);
    json_text_key_real(b, "mean_over_n", scaled.mean);
    buf_printf(b, "}");
    return 0;
}

/* --- by type ------------------------------------------------------------------------------- */

struct kind_counts {
    uint64_t rows, under, over;
};

static void put_kind(struct buf *b, size_t kind, const struct kind_counts *n,
                     const struct column_summary *alpha, const struct column_summary *scale)
{
    buf_printf(b, "{");
    json_text_key_string(b, "layer_type", layer_type_name((enum layer_type)(kind / ROLE_COUNT)));
    json_text_key_string(b, "role", layer_role_name((enum layer_role)(kind % ROLE_COUNT)));
    json_text_key_int(b, "rows", (int64_t)n->rows);
    json_text_key_int(b, "rows_success", (int64_t)alpha->n);
    json_text_key_int(b, "under_trained", (int64_t)n->under);
    json_text_key_int(b, "over_trained", (int64_t)n->over);
    json_text_key(b, "alpha");
    buf_printf(b, "{");
    json_text_key_real(b, "mean", alpha->mean);
    json_text_key_real(b, "median", alpha->median);
    json_text_key_real(b, "min", alpha->min);
    json_text_key_real(b, "max", alpha->max);
    json_text_key_real(b, "spread", alpha->spread);
    buf_printf(b, "}");
    json_text_key_real(b, "median_log_spectral_norm", scale->median);
    buf_printf(b, "}");
}

static int put_kinds(struct buf *b, const struct summing *s, struct err *err)
{
    AUTO(freep) struct column_summary *alpha = xcalloc(KINDS, sizeof *alpha);
    AUTO(freep) struct column_summary *scale = xcalloc(KINDS, sizeof *scale);
    AUTO(freep) struct kind_counts *n = xcalloc(KINDS, sizeof *n);
    const char *comma = "";
    int r = column_summary_by_type(s->alpha, s->kind, s->n, KINDS, alpha, err);

    if (r == 0)
        r = column_summary_by_type(s->log_lambda, s->kind, s->n, KINDS, scale, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < s->n; i++)
        if (!skipped(s, i)) {
            n[s->kind[i]].rows++;
            n[s->kind[i]].under += s->alpha[i] > ALPHA_HIGH;
            n[s->kind[i]].over += s->alpha[i] < ALPHA_LOW;
        }
    json_text_key(b, "types");
    buf_printf(b, "[");
    for (size_t k = 0; k < KINDS; k++)
        if (n[k].rows) {
            buf_printf(b, "%s", comma);
            put_kind(b, k, &n[k], &alpha[k], &scale[k]);
            comma = ",";
        }
    buf_printf(b, "]");
    return 0;
}

/* --- along the depth ----------------------------------------------------------------------- */

/* Which rows lie along the depth, in order: those of blocks, whose numbers put them in order; a
 * model without blocks has its rows in order of names, and embedding and head at neither end. */
static size_t rows_in_depth(const struct summing *s, size_t *row, bool *blocks)
{
    size_t in_blocks = 0, n = 0;

    for (size_t i = 0; i < s->n; i++)
        in_blocks += !skipped(s, i) && *s->a->layers.l[i].block;
    *blocks = in_blocks >= 3;
    for (size_t i = 0; i < s->n; i++) {
        const struct layer *l = &s->a->layers.l[i];

        if (!skipped(s, i) &&
            (*blocks ? *l->block != '\0' : l->role != ROLE_EMBEDDING && l->role != ROLE_HEAD))
            row[n++] = i;
    }
    return n;
}

static void put_run(struct buf *b, const char *key, const struct summing *s, const size_t *row,
                    const struct layer_run *run)
{
    json_text_key(b, key);
    buf_printf(b, "{");
    json_text_key_int(b, "rows", (int64_t)run->length);
    json_text_key_string(b, "first", run->length ? s->a->layers.l[row[run->first]].longname : NULL);
    buf_printf(b, "}");
}

static int put_flow(struct buf *b, struct summing *s, struct err *err)
{
    AUTO(freep) size_t *row = xcalloc(s->n + 1, sizeof *row);
    struct correlation_flow f;
    bool blocks;
    size_t n = rows_in_depth(s, row, &blocks);
    int r;

    for (size_t i = 0; i < n; i++)
        s->v[i] = s->alpha[row[i]];
    r = correlation_flow(s->v, n, &f, err);
    if (r < 0)
        return r;
    json_text_key(b, "correlation_flow");
    buf_printf(b, "{");
    json_text_key_string(b, "of", blocks ? "blocks" : "all");
    json_text_key_int(b, "rows", (int64_t)f.n);
    json_text_key_real(b, "slope", f.slope);
    json_text_key_real(b, "theil_sen", f.theil_sen);
    json_text_key_real(b, "tau", f.kendall);
    json_text_key_real(b, "first_third", f.first);
    json_text_key_real(b, "last_third", f.last);
    json_text_key_real(b, "roughness", f.roughness);
    put_run(b, "longest_above", s, row, &f.plateau);
    put_run(b, "longest_below", s, row, &f.valley);
    buf_printf(b, "}");
    return 0;
}

/* --- rows that stand out ------------------------------------------------------------------- */

struct odd_row {
    size_t row;
    double value, z;
};

/* Farthest out first. */
static int by_distance(const void *a, const void *b)
{
    const struct odd_row *x = a, *y = b;

    if (fabs(x->z) != fabs(y->z))
        return fabs(x->z) < fabs(y->z) ? 1 : -1;
    return (x->row > y->row) - (x->row < y->row);
}

static void put_odd(struct buf *b, const char *key, const struct summing *s, struct odd_row *odd,
                    size_t n)
{
    size_t bytes = 0;

    qsort(odd, n, sizeof *odd, by_distance);
    json_text_key(b, key);
    buf_printf(b, "{");
    json_text_key_int(b, "rows", (int64_t)n);
    json_text_key(b, "layers");
    buf_printf(b, "[");
    for (size_t i = 0; i < n && i < LIST_ROWS_MAX; i++) {
        const char *name = s->a->layers.l[odd[i].row].longname;

        bytes += strlen(name);
        if (bytes > LIST_BYTES_MAX)
            break;
        buf_printf(b, "%s{", i ? "," : "");
        json_text_key_int(b, "layer_id", (int64_t)odd[i].row);
        json_text_key_string(b, "longname", name);
        json_text_key_real(b, "value", odd[i].value);
        json_text_key_real(b, "z", odd[i].z);
        buf_printf(b, "}");
    }
    buf_printf(b, "]}");
}

static int put_standing_out(struct buf *b, struct summing *s, struct err *err)
{
    static const struct collapse_rule rule = {.z_limit = ROBUST_Z_LIMIT, .drop = COLLAPSE_DROP};
    AUTO(freep) struct odd_row *odd = xcalloc(s->n + 1, sizeof *odd);
    AUTO(freep) bool *collapsed = xcalloc(s->n + 1, sizeof *collapsed);
    size_t n, k = 0;
    int r = scale_collapse(s->log_lambda, s->kind, s->n, KINDS, &rule, s->v, collapsed, &n, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < s->n; i++)
        if (collapsed[i])
            odd[k++] = (struct odd_row){i, s->log_lambda[i], s->v[i]};
    put_odd(b, "scale_collapse", s, odd, k);
    r = robust_z_by_type(s->alpha, s->kind, s->n, KINDS, s->v, err);
    if (r < 0)
        return r;
    k = 0;
    for (size_t i = 0; i < s->n; i++)
        if (fabs(s->v[i]) > ROBUST_Z_LIMIT)
            odd[k++] = (struct odd_row){i, s->alpha[i], s->v[i]};
    put_odd(b, "out_of_line", s, odd, k);
    return 0;
}

/* --- the whole ----------------------------------------------------------------------------- */

int analyze_summary_json(const struct analyze *a, char **out, struct err *err)
{
    AUTO(summing_done) struct summing s = summing_new(a);
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct counts n = count_rows(a);
    int r;

    buf_printf(&b, "{");
    put_means(&b, &s);
    put_counts(&b, &n, a);
    json_text_key_int(&b, "params", (int64_t)a->n_params);
    if (a->base)
        json_text_key_string(&b, "base", a->base->id);
    json_text_key_int(&b, "tensors_not_in_index", (int64_t)a->unmapped);
    r = put_alpha_hat(&b, &s, err);
    if (r == 0)
        r = put_kinds(&b, &s, err);
    if (r == 0)
        r = put_flow(&b, &s, err);
    if (r == 0)
        r = put_standing_out(&b, &s, err);
    if (r < 0)
        return r;
    if (asked_for(a, MEASURE_PHASE))
        put_phases(&b, a);
    buf_printf(&b, "}");
    buf_put_u8(&b, '\0');
    *out = (char *)b.data;
    b = (struct buf)BUF_INIT;
    return 0;
}
