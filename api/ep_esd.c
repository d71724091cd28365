/* ep_esd.c: /v1/analyses/{analysis}/layers/{layer}/esd: the eigenvalues of one layer, all slices
 * together, scaled and in ascending order: the numbers that the fit saw.
 */
#include "api/csv.h"
#include "api/ep.h"
#include "api/histogram.h"
#include "api/immutable.h"
#include "api/layer_spectrum.h"
#include "api/npy.h"
#include "api/problem.h"
#include "common/json_text.h"
#include "daemon/row_text.h"

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
    struct layer_esd of;
    const struct immutable_form *form;
    size_t bins; /* 0 = the eigenvalues themselves */
    bool log;
};

static void esd_free(void *work)
{
    struct esd *e = work;

    layer_esd_done(&e->of);
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

static struct reply *esd_read(void *work, struct store *st)
{
    struct esd *e = work;
    struct err err;

    return layer_esd_fetch(&e->of, st, &err) == 0 ? NULL : reply_err(&err);
}

/* --- writing -----------------------------------------------------------------------------------
 */

/* What identifies the spectrum, and the fit that goes with it, from the row. */
static void write_head(const struct esd *e, struct buf *b)
{
    static const char *const copied[] = {"layer_id", "longname", "status", "alpha",        "D",
                                         "sigma",    "xmin",     "xmax",   "num_pl_spikes"};
    struct row_text text;

    (void)row_text_parse(e->of.layer->row.json, &text); /* esd_read() has seen that it can be */
    buf_printf(b, "{");
    json_text_key_string(b, "analysis", e->of.layer->analysis);
    for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
        const struct row_member *m = row_text_find(&text, copied[i], 0);

        json_text_key(b, copied[i]);
        if (m)
            buf_put(b, m->value, m->len);
        else
            buf_printf(b, "null");
    }
    json_text_key_int(b, "n", (int64_t)e->of.n);
    json_text_key_int(b, "n_slices", (int64_t)e->of.rec.n_slices);
    json_text_key_real(b, "factor", e->of.layer->row.scale);
    json_text_key_string(b, "method", spectrum_method_name(e->of.rec.method));
    json_text_key_string(b, "precision",
                         e->of.rec.precision == PRECISION_SINGLE ? "single" : "double");
    json_text_key_real(b, "error_bound", e->of.rec.error_bound * e->of.layer->row.scale);
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

    histogram_make(e->of.lambda, e->of.n, e->bins, e->log, e->of.noise, h);
    if (csv)
        write_histogram_csv(h, b);
    else
        write_histogram_json(e, h, b);
}

static void write_values(const struct esd *e, bool csv, struct buf *b)
{
    if (!csv) {
        write_head(e, b);
        write_reals(b, "evals", e->of.lambda, e->of.n);
        buf_printf(b, "}");
        return;
    }
    buf_printf(b, "eigenvalue\r\n");
    for (size_t i = 0; i < e->of.n; i++) {
        json_text_real(b, e->of.lambda[i]);
        csv_end(b);
    }
}

static struct reply *esd_write(void *work, struct immutable_text *out)
{
    struct esd *e = work;
    bool csv = strcmp(e->form->word, "csv") == 0;
    struct err err;

    if (layer_esd_pool(&e->of, &err) < 0)
        return reply_err(&err);
    out->type = e->form->type;
    if (e->bins)
        write_bins(e, csv, &out->body);
    else if (strcmp(e->form->word, "npy") == 0)
        npy_write(e->of.lambda, e->of.n, &out->body);
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
        layer_esd_new(rq, &e->of, &err) < 0) {
        esd_free(e);
        return reply_err(&err);
    }
    return immutable_make(rq, &wish, &ops, e);
}
