/* ep_esd.c: /v1/analyses/{analysis}/layers/{layer}/esd: the eigenvalues of one layer, all slices
 * together, scaled and in ascending order: the numbers that the fit saw.
 */
#include "api/csv.h"
#include "api/ep.h"
#include "api/histogram.h"
#include "api/immutable.h"
#include "api/layer_ref.h"
#include "api/npy.h"
#include "api/problem.h"
#include "common/json_text.h"
#include "daemon/records.h"

#include <stdlib.h>
#include <string.h>

#define BINS 100 /* when only the scale is given */

static const struct immutable_form forms[] = {
    {"json", "application/json", "application/json"},
    {"csv", "text/csv", "text/csv; charset=utf-8"},
    {"npy", "application/x-npy", "application/x-npy"},
    {"npy", "application/octet-stream", "application/octet-stream"},
};

struct esd {
    struct layer_ref *layer;
    const struct immutable_form *form;
    size_t bins; /* 0 = the eigenvalues themselves */
    bool log;
    struct buf bytes; /* as cached */
    struct spectrum_record rec;
    double *lambda; /* n of them */
    size_t n;
};

static void esd_free(void *work)
{
    struct esd *e = work;

    if (e->layer)
        layer_ref_free(e->layer);
    buf_done(&e->bytes);
    free(e->lambda);
    free(e);
}

/* --- the question ------------------------------------------------------------------------------
 */

static int read_bins(struct esd *e, struct query *q, struct err *err)
{
    const char *scale;
    uint64_t bins;
    int r = query_size(q, "bins", UINT64_MAX, UINT64_MAX - 1, &bins, err);

    if (r == 0)
        r = query_text(q, "scale", 16, &scale, err);
    if (r < 0)
        return r;
    if (bins != UINT64_MAX && (bins < 1 || bins > HISTOGRAM_BINS_MAX))
        return err_set_at(err, ERR_INVALID, "?bins",
                          "query parameter bins: expected a number from 1 to %d",
                          HISTOGRAM_BINS_MAX);
    if (scale && strcmp(scale, "log") != 0 && strcmp(scale, "linear") != 0)
        return err_set_at(err, ERR_INVALID, "?scale",
                          "query parameter scale: expected log or linear");
    if (scale && bins == UINT64_MAX)
        bins = BINS;
    if (bins != UINT64_MAX && strcmp(e->form->word, "npy") == 0)
        return err_set_at(err, ERR_INVALID, "?bins",
                          "a histogram (bins, scale) is JSON or CSV, not npy");
    e->bins = bins == UINT64_MAX ? 0 : (size_t)bins;
    e->log = !scale || strcmp(scale, "log") == 0;
    return 0;
}

/* --- reading -----------------------------------------------------------------------------------
 */

/* Why a row has no spectrum: its status, reason and detail. */
static int no_spectrum(const struct layer_row *row, struct err *err)
{
    AUTO(buf_done) struct buf why = BUF_INIT;
    static const char *const part[] = {"status", "reason", "detail"};
    struct row_text text;

    if (row_text_parse(row->json, &text))
        for (size_t i = 0; i < ARRAY_LEN(part); i++) {
            const struct row_member *m = row_text_find(&text, part[i], 0);
            size_t before = why.len;

            if (m && row_text_plain(m, &why) && why.len > before && i < 2)
                buf_printf(&why, ": ");
        }
    buf_put_u8(&why, '\0');
    return err_set(err, ERR_NOT_FOUND, "this layer has no spectrum; %.300s",
                   (const char *)why.data);
}

static bool row_has_esd(const struct layer_row *row)
{
    struct row_text text;
    const struct row_member *m;

    if (!row_text_parse(row->json, &text))
        return false;
    m = row_text_find(&text, "has_esd", 13);
    return m && m->len == 4 && memcmp(m->value, "true", 4) == 0;
}

static int fetch(struct esd *e, struct store *st, struct err *err)
{
    const struct layer_row *row = &e->layer->row;
    int r = layer_ref_read(e->layer, st, err);

    if (r != 0)
        return r;
    if (!row_has_esd(row))
        return no_spectrum(row, err);
    r = row->has_spectrum ? store_cache_find(st, CACHE_SPECTRUM, &row->spectrum, &e->bytes, err)
                          : ERR_NOT_FOUND;
    if (r == ERR_NOT_FOUND)
        return err_set(err, ERR_GONE,
                       "the spectrum of this layer is no longer cached; submit the job again to "
                       "have it computed anew, and ask for the new analysis");
    return r;
}

static struct reply *esd_read(void *work, struct store *st)
{
    struct err err;

    return fetch(work, st, &err) == 0 ? NULL : reply_err(&err);
}

/* --- writing -----------------------------------------------------------------------------------
 */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int pool(struct esd *e, struct err *err)
{
    struct spectrum_record *rec = &e->rec;
    int r = spectrum_record_parse(e->bytes.data, e->bytes.len, rec, err);

    if (r < 0)
        return r;
    e->n = rec->n_nonfinite ? 0 : (size_t)(rec->n_slices * rec->n_per_slice);
    e->lambda = xcalloc(e->n ? e->n : 1, sizeof *e->lambda);
    for (size_t i = 0; i < e->n; i++)
        e->lambda[i] = rec->lambda[i] * e->layer->row.scale;
    if (rec->n_slices > 1)
        qsort(e->lambda, e->n, sizeof *e->lambda, ascending);
    return 0;
}

/* What identifies the spectrum, and the fit that goes with it, from the row. */
static void write_head(const struct esd *e, struct buf *b)
{
    static const char *const copied[] = {"layer_id", "longname", "status", "alpha",        "D",
                                         "sigma",    "xmin",     "xmax",   "num_pl_spikes"};
    struct row_text text;

    (void)row_text_parse(e->layer->row.json, &text); /* esd_read() has seen that it can be */
    buf_printf(b, "{");
    json_text_key_string(b, "analysis", e->layer->analysis);
    for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
        const struct row_member *m = row_text_find(&text, copied[i], 0);

        json_text_key(b, copied[i]);
        if (m)
            buf_put(b, m->value, m->len);
        else
            buf_printf(b, "null");
    }
    json_text_key_int(b, "n", (int64_t)e->n);
    json_text_key_int(b, "n_slices", (int64_t)e->rec.n_slices);
    json_text_key_real(b, "factor", e->layer->row.scale);
    json_text_key_string(b, "method", spectrum_method_name(e->rec.method));
    json_text_key_string(b, "precision",
                         e->rec.precision == PRECISION_SINGLE ? "single" : "double");
    json_text_key_real(b, "error_bound", e->rec.error_bound * e->layer->row.scale);
}

static void write_reals(struct buf *b, const char *key, const double *x, size_t n)
{
    json_text_key(b, key);
    buf_printf(b, "[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_put_u8(b, ',');
        json_text_real(b, x[i]);
    }
    buf_printf(b, "]");
}

static void write_histogram_json(const struct esd *e, const struct histogram *h, struct buf *b)
{
    write_head(e, b);
    json_text_key_string(b, "scale", e->log ? "log" : "linear");
    json_text_key_int(b, "bins", (int64_t)h->bins);
    write_reals(b, "edges", h->edge, h->bins + 1);
    json_text_key(b, "counts");
    for (size_t i = 0; i < h->bins; i++)
        buf_printf(b, "%c%llu", i ? ',' : '[', (unsigned long long)h->count[i]);
    buf_printf(b, "]");
    write_reals(b, "density", h->density, h->bins);
    json_text_key_int(b, "n_below", (int64_t)h->n_below);
    json_text_key_int(b, "n_nonpositive", (int64_t)h->n_nonpositive);
    buf_printf(b, "}");
}

static void write_histogram_csv(const struct histogram *h, struct buf *b)
{
    buf_printf(b, "lower,upper,count,density\r\n");
    for (size_t i = 0; i < h->bins; i++) {
        json_text_real(b, h->edge[i]);
        csv_comma(b);
        json_text_real(b, h->edge[i + 1]);
        buf_printf(b, ",%llu,", (unsigned long long)h->count[i]);
        json_text_real(b, h->density[i]);
        csv_end(b);
    }
}

static void write_bins(const struct esd *e, bool csv, struct buf *b)
{
    AUTO(freep) struct histogram *h = xmalloc(sizeof *h);
    /* TSQR resolves values far below the bound that it can state. */
    double noise =
        e->rec.method == SPECTRUM_TSQR_SVD ? 0 : e->rec.error_bound * e->layer->row.scale;

    histogram_make(e->lambda, e->n, e->bins, e->log, noise, h);
    if (csv)
        write_histogram_csv(h, b);
    else
        write_histogram_json(e, h, b);
}

static void write_values(const struct esd *e, bool csv, struct buf *b)
{
    if (!csv) {
        write_head(e, b);
        write_reals(b, "evals", e->lambda, e->n);
        buf_printf(b, "}");
        return;
    }
    buf_printf(b, "eigenvalue\r\n");
    for (size_t i = 0; i < e->n; i++) {
        json_text_real(b, e->lambda[i]);
        csv_end(b);
    }
}

static struct reply *esd_write(void *work, struct immutable_text *out)
{
    struct esd *e = work;
    bool csv = strcmp(e->form->word, "csv") == 0;
    struct err err;

    if (pool(e, &err) < 0)
        return reply_err(&err);
    out->type = e->form->type;
    if (e->bins)
        write_bins(e, csv, &out->body);
    else if (strcmp(e->form->word, "npy") == 0)
        npy_write(e->lambda, e->n, &out->body);
    else
        write_values(e, csv, &out->body);
    return NULL;
}

struct reply *ep_layers_esd(struct request *rq)
{
    static const struct immutable_ops ops = {esd_read, esd_write, esd_free};
    struct immutable_wish wish;
    const struct immutable_form *form;
    struct reply *r = immutable_find(rq, forms, ARRAY_LEN(forms), &wish);
    struct esd *e;
    struct err err;

    if (!r)
        r = immutable_choose(rq, forms, ARRAY_LEN(forms), &wish, &form);
    if (r)
        return r;
    e = xcalloc(1, sizeof *e);
    e->form = form;
    if (read_bins(e, &rq->query, &err) < 0 || query_check_unused(&rq->query, &err) < 0 ||
        layer_ref_new(rq, &e->layer, &err) < 0) {
        esd_free(e);
        return reply_err(&err);
    }
    return immutable_make(rq, &wish, &ops, e);
}
