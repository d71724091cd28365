/* layer_spectrum.c: see layer_spectrum.h. */
#include "api/layer_spectrum.h"

#include "daemon/row_text.h"

#include <stdlib.h>
#include <string.h>

int layer_esd_new(const struct request *rq, struct layer_esd *out, struct err *err)
{
    *out = (struct layer_esd){.bytes = BUF_INIT};
    return layer_ref_new(rq, &out->layer, err);
}

void layer_esd_done(struct layer_esd *e)
{
    if (e->layer)
        layer_ref_free(e->layer);
    buf_done(&e->bytes);
    free(e->lambda);
}

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

int layer_esd_fetch(struct layer_esd *e, struct store *st, struct err *err)
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

int layer_esd_pool(struct layer_esd *e, struct err *err)
{
    struct spectrum_record *rec = &e->rec;
    int r = spectrum_record_parse(e->bytes.data, e->bytes.len, rec, err);

    if (r < 0)
        return r;
    e->n = rec->n_nonfinite ? 0 : (size_t)(rec->n_slices * rec->n_per_slice);
    e->lambda = xcalloc(e->n ? e->n : 1, sizeof *e->lambda);
    if (e->n)
        layer_pool(rec->lambda, (size_t)rec->n_slices, (size_t)rec->n_per_slice,
                   e->layer->row.scale, e->lambda);
    /* TSQR resolves values far below the bound that it can state. */
    e->noise = rec->method == SPECTRUM_TSQR_SVD ? 0 : rec->error_bound * e->layer->row.scale;
    return 0;
}
