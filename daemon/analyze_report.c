/* analyze_report.c: the end of an analyze job: rows and analysis, all in one commit. */
#include "daemon/analyze.h"

#include "common/json_text.h"
#include "daemon/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- rows ---------------------------------------------------------------------------------- */

const struct layer_work *analyze_work_of(const struct analyze *a, size_t i)
{
    const struct layer_work *w = &a->lw[i];

    return w->leader >= 0 ? &a->lw[w->leader] : w;
}

bool analyze_fit_ok(const struct layer_work *w)
{
    return w->outcome == OUT_DONE && w->values.reason == LAYER_OK;
}

static const char *status_of(const struct layer_work *w)
{
    if (w->outcome == OUT_SKIPPED)
        return "skipped";
    return analyze_fit_ok(w) ? "success" : "failed";
}

static void put_reason(struct buf *b, const struct analyze *a, size_t i)
{
    const struct layer *l = &a->layers.l[i];
    const struct layer_work *w = analyze_work_of(a, i);
    const char *reason = NULL, *detail = NULL;

    if (w->outcome == OUT_SKIPPED) {
        reason = skip_reason_name(l->skip);
        detail = skip_reason_text(l->skip);
    } else if (w->outcome == OUT_NONFINITE) {
        reason = layer_reason_name(LAYER_NON_FINITE);
    } else if (w->outcome == OUT_FAILED) {
        reason = err_name(w->err.code);
        detail = w->err.text;
    } else if (w->values.reason != LAYER_OK) {
        reason = layer_reason_name(w->values.reason);
    }
    json_text_key_string(b, "reason", reason);
    json_text_key_string(b, "detail", detail);
}

static void put_notes(struct buf *b, const struct layer *l, const struct layer_work *w)
{
    bool any = false;

    json_text_key(b, "notes");
    buf_printf(b, "[");
    for (unsigned bit = 0; bit < NOTE_BITS; bit++)
        if (l->notes & 1u << bit) {
            buf_printf(b, "%s\"%s\"", any ? "," : "", layer_note_name(1u << bit));
            any = true;
        }
    if (w->outcome == OUT_DONE && w->values.rank_unresolved)
        buf_printf(b, "%s\"rank_unresolved\"", any ? "," : "");
    buf_printf(b, "]");
}

/* Columns that follow from the shape, known without a spectrum too. */
static bool shape_column(const struct layer *l, bool compat, enum column c, double *x)
{
    uint64_t n, m;

    layer_sides(l, compat, &n, &m);
    if (c == COL_N)
        *x = (double)n;
    else if (c == COL_M)
        *x = (double)m;
    else if (c == COL_Q)
        *x = (double)n / (double)m;
    else if (c == COL_RF)
        *x = (double)l->n_slices;
    else if (c == COL_NUM_EVALS)
        *x = (double)(layer_n_values(l) * l->n_slices);
    else
        return false;
    return true;
}

static void put_columns(struct buf *b, const struct layer *l, const struct layer_work *w,
                        bool compat)
{
    for (int c = 0; c < COLUMN_COUNT; c++) {
        const struct column_info *info = column_info((enum column)c);
        double x = w->outcome == OUT_DONE ? w->values.v[c] : NAN;

        if (layer_is_product(l) && (c == COL_WEIGHT_MEAN || c == COL_WEIGHT_VAR))
            x = NAN; /* nobody has seen its elements */
        if (l->rows > 0 && l->cols > 0)
            (void)shape_column(l, compat, (enum column)c, &x);
        if (info->integer && isfinite(x))
            json_text_key_int(b, info->name, (int64_t)x);
        else
            json_text_key_real(b, info->name, x);
    }
}

/* Why a row that was to have windows has no exponent of them. */
static const char *farms_reason(const struct layer_farms *f)
{
    if (f->outcome == FARMS_FAILED)
        return f->reason;
    if (f->outcome == FARMS_DONE && f->result.unresolved)
        return "unresolved_in_single";
    if (f->outcome == FARMS_DONE && f->result.status != HILL_OK)
        return hill_status_name(f->result.status);
    return NULL;
}

static void put_farms(struct buf *b, const struct layer_farms *f)
{
    bool done = f->outcome == FARMS_DONE;

    json_text_key_real(b, "farms_alpha", done ? f->result.alpha : NAN);
    json_text_key_real(b, "farms_D", done ? f->result.D : NAN);
    if (done)
        json_text_key_int(b, "farms_num_evals", (int64_t)f->result.n_evals);
    else
        json_text_key_real(b, "farms_num_evals", NAN);
    json_text_key_real(b, "farms_alpha_se",
                       done && !farms_reason(f) ? f->result.standard_error : NAN);
    json_text_key_string(b, "farms_reason", farms_reason(f));
}

static void put_measure(struct buf *b, const struct measure_info *info,
                        const struct measure_result *v)
{
    for (size_t k = 0; k < info->n_columns; k++) {
        const struct measure_column *c = &info->column[k];
        double x = v ? v->v[k] : NAN;

        if (c->form == MEASURE_WORD)
            json_text_key_string(b, c->name, isnan(x) ? NULL : c->word((unsigned)x));
        else if (c->form == MEASURE_INTEGER && !isnan(x))
            json_text_key_int(b, c->name, (int64_t)x);
        else
            json_text_key_real(b, c->name, x);
    }
}

/* Measures that were asked for: every row has their columns. */
static void put_measures(struct buf *b, const struct analyze *a, size_t i)
{
    size_t row = a->lw[i].leader >= 0 ? (size_t)a->lw[i].leader : i;
    struct buf why = BUF_INIT;

    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        const struct measure_info *info = measure_info((enum measure)m);
        const char *reason;
        const struct measure_result *v = analyze_measured(a, row, (enum measure)m, &reason);

        if (!(a->params.measures & 1u << m))
            continue;
        put_measure(b, info, v);
        if (v && v->reason != MEASURED)
            reason = measure_reason_name(v->reason);
        if (reason)
            buf_printf(&why, "%s\"%s: %s\"", why.len ? "," : "", info->name, reason);
    }
    if (a->params.measures) {
        json_text_key(b, "not_measured");
        buf_printf(b, "[%.*s]", (int)why.len, why.len ? (const char *)why.data : "");
    }
    buf_done(&why);
}

/* What the rows of an analysis are, where that need not be tensors as they lie in their files. */
static void put_operation(struct buf *b, const struct analyze *a, const struct layer *l)
{
    bool adapter = l->skip == SKIP_NONE && (l->made == MADE_LORA || l->made == MADE_MERGED);

    if (a->base || a->adapted || a->n_products)
        json_text_key_string(b, "operation",
                             l->skip == SKIP_NONE ? layer_made_name(l->made) : NULL);
    if (!a->adapted)
        return;
    json_text_key_real(b, "lora_scale", adapter ? l->scale : NAN);
    if (adapter)
        json_text_key_int(b, "lora_rank", (int64_t)l->inner);
    else
        json_text_key_real(b, "lora_rank", NAN);
}

static void put_provenance(struct buf *b, const struct analyze *a, size_t i)
{
    const struct layer *l = &a->layers.l[i];
    const struct layer_work *w = analyze_work_of(a, i);
    bool known = w->outcome == OUT_DONE || w->outcome == OUT_NONFINITE;
    char hex[DIGEST_HEX_LEN + 1];

    digest_hex(l->made == MADE_TENSOR || w->outcome == OUT_SKIPPED ? &analyze_unit_of(a, l)->digest
                                                                   : &a->lw[i].content,
               hex);
    json_text_key_string(b, "digest", hex);
    json_text_key_string(b, "method", known ? spectrum_method_name(w->method) : NULL);
    json_text_key_string(b, "precision",
                         !known                             ? NULL
                         : w->precision == PRECISION_SINGLE ? "single"
                                                            : "double");
    json_text_key_real(b, "error_bound", w->outcome == OUT_DONE ? w->error_bound : NAN);
    json_text_key_string(b, "blas_core", known ? w->core : NULL);
}

void analyze_row_names(size_t i, const struct layer *l, struct buf *b)
{
    json_text_key_int(b, "layer_id", (int64_t)i);
    json_text_key_string(b, "name", l->name);
    json_text_key_string(b, "longname", l->longname);
    json_text_key_string(b, "tensor", l->tensor);
    json_text_key_string(b, "block", l->block);
    json_text_key_string(b, "role", layer_role_name(l->role));
    json_text_key_string(b, "layer_type", layer_type_name(l->type));
    json_text_key_string(b, "dtype", dtype_name(l->dtype));
}

void analyze_row_json(const struct analyze *a, size_t i, struct buf *b)
{
    const struct layer *l = &a->layers.l[i];
    const struct layer_work *w = analyze_work_of(a, i);

    buf_printf(b, "{");
    analyze_row_names(i, l, b);
    json_text_key_counts(b, "shape", l->dims, l->rank);
    json_text_key_string(b, "status", status_of(w));
    put_reason(b, a, i);
    json_text_key_string(b, "warning",
                         w->outcome == OUT_DONE ? layer_warning(w->values.v[COL_ALPHA]) : "");
    json_text_key(b, "has_esd");
    buf_printf(b, "%s", w->outcome == OUT_DONE ? "true" : "false");
    json_text_key(b, "num_nonfinite");
    if (w->outcome == OUT_DONE || w->outcome == OUT_NONFINITE)
        buf_printf(b, "%" PRIu64, w->n_nonfinite);
    else
        buf_printf(b, "null");
    put_columns(b, l, w, a->params.compat);
    put_farms(b, &w->farms);
    put_measures(b, a, i);
    put_operation(b, a, l);
    put_notes(b, l, w);
    put_provenance(b, a, i);
    buf_printf(b, "}");
}

/* --- storing ------------------------------------------------------------------------------- */

#define ROWS_PER_PUT 1000

static int put_row_range(struct analyze *a, struct store *st, size_t first, size_t count)
{
    struct layer_row *row = xcalloc(count, sizeof *row);
    struct layer_row_list list = {row, count};
    int r;

    for (size_t k = 0; k < count; k++) {
        struct buf b = BUF_INIT;

        analyze_row_json(a, first + k, &b);
        buf_put_u8(&b, '\0');
        row[k] =
            (struct layer_row){.layer_id = first + k,
                               .longname = xstrdup(a->layers.l[first + k].longname),
                               .json = (char *)b.data,
                               .has_spectrum = analyze_work_of(a, first + k)->outcome == OUT_DONE,
                               .spectrum = a->lw[first + k].spectrum_key,
                               .scale = analyze_scale(&a->layers.l[first + k])};
    }
    r = store_rows_put(st, &a->rows_key, row, count, &a->err);
    layer_row_list_done(&list);
    return r;
}

static int put_rows(struct analyze *a, struct store *st)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < a->layers.count; i += ROWS_PER_PUT) {
        size_t left = a->layers.count - i;

        r = put_row_range(a, st, i, left < ROWS_PER_PUT ? left : ROWS_PER_PUT);
    }
    return r;
}

static void hash_farms(struct hasher *h, const struct layer_farms *f)
{
    const char *reason = farms_reason(f);

    hasher_add_u64(h, (uint64_t)f->outcome);
    hasher_add_str(h, reason ? reason : "");
    if (f->outcome == FARMS_DONE && !reason) {
        hasher_add(h, &f->result.alpha, sizeof f->result.alpha);
        hasher_add(h, &f->result.D, sizeof f->result.D);
        hasher_add(h, &f->result.standard_error, sizeof f->result.standard_error);
    }
}

static void hash_measures(struct hasher *h, const struct analyze *a, size_t i)
{
    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        const char *failed;
        const struct measure_result *v = analyze_measured(a, i, (enum measure)m, &failed);

        hasher_add_str(h, failed ? failed : "");
        hasher_add_u64(h, v ? measure_info((enum measure)m)->version : 0);
        if (v)
            hasher_add(h, v->v, measure_info((enum measure)m)->n_columns * sizeof v->v[0]);
    }
}

/* Everything that a row shows and the model's content does not fix. */
static void hash_row(struct hasher *h, const struct analyze *a, size_t i)
{
    const struct layer *l = &a->layers.l[i];
    const struct layer_work *w = analyze_work_of(a, i);

    hasher_add_u64(h, (uint64_t)l->type);
    hasher_add_u64(h, (uint64_t)l->role);
    hasher_add_u64(h, (uint64_t)l->skip);
    hasher_add_u64(h, l->notes);
    hasher_add_u64(h, (uint64_t)w->outcome);
    hasher_add_u64(h, (uint64_t)w->err.code); /* a failed layer may succeed next time */
    hasher_add_str(h, w->outcome == OUT_FAILED ? w->err.text : "");
    hasher_add_u64(h, (uint64_t)w->method);
    hasher_add_u64(h, (uint64_t)w->precision);
    hasher_add_u64(h, w->n_nonfinite);
    hasher_add(h, &w->error_bound, sizeof w->error_bound);
    hasher_add_str(h, w->core);
    if (w->outcome == OUT_DONE)
        hasher_add(h, w->values.v, sizeof w->values.v);
    hash_farms(h, &w->farms);
    if (a->params.measures)
        hash_measures(h, a, w == &a->lw[i] ? i : (size_t)a->lw[i].leader);
}

/* Rows under a key never change: another result, from another processor or version of the
 * program, gets another key. Replies that say "immutable" rely on it. */
void analyze_make_rows_key(struct analyze *a)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, "spectrald-rows-3");
    hasher_add(h, a->model.b, DIGEST_LEN);
    hasher_add_str(h, a->params_text);
    if (a->base)
        hasher_add(h, a->base->digest.b, DIGEST_LEN);
    for (size_t i = 0; i < a->layers.count; i++)
        hash_row(h, a, i);
    hasher_finish(h, &a->rows_key);
}

static int put_model(struct analyze *a, struct store *st, const char *id, const char *name,
                     const struct hf_config *config, struct model_record *m)
{
    m->format = (char *)(uintptr_t) "safetensors";
    m->model_type = (char *)(uintptr_t)(config ? config->model_type : "");
    m->name = (char *)(uintptr_t)name;
    m->first_seen_ms = m->last_seen_ms = wall_ms();
    memcpy(m->id, id, sizeof m->id);
    return store_model_put(st, m, &a->err);
}

static int put_models(struct analyze *a, struct store *st)
{
    const struct base_model *b = a->base;
    struct model_record own = {
        .n_tensors = a->n_tensors, .n_params = a->n_params, .nbytes = a->nbytes};
    int r = analyze_put_tensors(a, st, a->model_id, &a->layers, a->n_tensors);

    if (r == 0)
        r = put_model(a, st, a->model_id, a->source->name, a->have_config ? &a->config : NULL,
                      &own);
    if (r == 0 && b) {
        struct model_record base = {
            .n_tensors = b->n_tensors, .n_params = b->n_params, .nbytes = b->nbytes};

        r = analyze_put_tensors(a, st, b->id, &b->layers, b->n_tensors);
        if (r == 0)
            r = put_model(a, st, b->id, b->source->name, b->have_config ? &b->config : NULL, &base);
    }
    return r;
}

/* With the labels as they are now: the live record belongs to the loop thread. */
static int put_analysis(struct analyze *a, struct store *st)
{
    const struct job_record *j = &a->final;
    struct job_record now = {0};
    int r = store_job_get(st, j->id, &now, &a->err);
    struct analysis_record rec = {.owner = j->owner,
                                  .labels = now.labels,
                                  .params = a->params_text,
                                  .summary = a->summary,
                                  .rows = a->rows_key,
                                  .n_layers = a->layers.count,
                                  .created_ms = wall_ms()};

    memcpy(rec.id, a->analysis_id, sizeof rec.id);
    memcpy(rec.job, j->id, sizeof rec.job);
    memcpy(rec.model, a->model_id, sizeof rec.model);
    if (r == 0)
        r = store_analysis_put(st, &rec, &a->err);
    job_record_done(&now);
    return r;
}

static int put_results(struct analyze *a, struct store *st)
{
    analyze_make_rows_key(a);
    if (analyze_summary_json(a, &a->summary, &a->err) < 0)
        return a->err.code;
    if (put_rows(a, st) < 0 || put_models(a, st) < 0)
        return a->err.code;
    return put_analysis(a, st);
}

static char *result_json(const struct analyze *a, bool analysed)
{
    struct buf b = BUF_INIT;

    buf_put_u8(&b, '{');
    if (analysed) {
        json_text_key_string(&b, "analysis", a->analysis_id);
        json_text_key_string(&b, "model", a->model_id);
        if (a->base)
            json_text_key_string(&b, "base", a->base->id);
    }
    if (a->plan)
        json_text_key_string(&b, "plan", analyze_plan_id(a));
    if (a->prune)
        json_text_key_string(&b, "artifact", analyze_prune_id(a));
    if (a->distances)
        json_text_key_string(&b, "distances", analyze_distances_id(a));
    buf_printf(&b, "}");
    buf_put_u8(&b, '\0');
    return (char *)b.data;
}

static void report_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct store *st = job_store(state);
    struct job_record *rec = &a->final;
    bool analysed = analyze_is_analysed(a);

    a->err.code = 0;
    if (analyze_unchanged(a) < 0)
        return;
    if ((analysed && put_results(a, st) < 0) || (a->plan && analyze_plan_put(a, st) < 0) ||
        (a->prune && analyze_prune_put(a, st) < 0) ||
        (a->distances && (put_models(a, st) < 0 || analyze_distances_put(a, st) < 0)))
        return;
    rec->state = JOB_SUCCEEDED;
    rec->finished_ms = wall_ms();
    if (!analysed) /* nothing is left of them */
        rec->layers_done = rec->layers_total;
    rec->result = result_json(a, analysed);
    (void)store_job_finish(st, rec, &a->err);
}

static void report_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;
    struct job *j = a->job;
    struct err err = group_err ? *group_err : a->err;

    if (err.code == 0) {
        if (a->prune)
            analyze_prune_made(a);
        job_finalize(j, &a->final);
        job_ended(j);
        return;
    }
    j->ended = false;
    job_fail_err(j, &err);
}

void analyze_report(struct analyze *a)
{
    job_record_copy(&a->final, &a->job->rec); /* the store thread must not touch the live one */
    a->job->ended = true;                     /* a cancel from here on comes too late */
    job_call_store(a->job, report_run, report_done, a);
}
