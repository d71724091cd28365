/* analyze_tensors.c: the tensors of a model as rows, in the natural order of the layers. */
#include "daemon/analyze.h"

#include "common/json_text.h"
#include "daemon/tensor_rows.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_PER_PUT 1000

void tensor_rows_key(const char *model_id, struct digest *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, "spectrald-tensors-1");
    hasher_add_str(h, model_id);
    hasher_finish(h, out);
}

/* Digest of the whole tensor: its unit's, or for a stack that of its matrices' digests. */
static void tensor_digest(const struct analyze *a, const struct layer *l, size_t n_units,
                          struct digest *out)
{
    const struct unit *u = &a->unit[a->unit_of[l->file][l->index]];
    AUTO(hasher_freep) struct hasher *h = NULL;

    if (n_units == 1) {
        *out = u->digest;
        return;
    }
    h = hasher_new();
    hasher_add_str(h, "spectrald-stack-1");
    for (size_t k = 0; k < n_units; k++)
        hasher_add(h, u[k].digest.b, DIGEST_LEN);
    hasher_finish(h, out);
}

/* Units of a tensor follow one another. */
static size_t units_of(const struct analyze *a, uint32_t file, uint32_t tensor)
{
    size_t first = a->unit_of[file][tensor], n = 1;

    while (first + n < a->n_units && a->unit[first + n].file == file &&
           a->unit[first + n].tensor == tensor)
        n++;
    return n;
}

static void write_tensor(struct buf *b, const struct analyze *a, const struct layer *l)
{
    const struct tensor *t = &a->table[l->file].t[l->index];
    struct digest digest;
    char hex[DIGEST_HEX_LEN + 1];

    tensor_digest(a, l, units_of(a, l->file, l->index), &digest);
    digest_hex(&digest, hex);
    buf_printf(b, "{");
    json_text_key_string(b, "name", t->name);
    json_text_key_string(b, "dtype", dtype_name(t->dtype));
    json_text_key_counts(b, "shape", t->dims, t->rank);
    json_text_key_int(b, "n_params", (int64_t)tensor_elements(t));
    json_text_key_int(b, "nbytes", (int64_t)t->nbytes);
    json_text_key_string(b, "block", l->block);
    json_text_key_string(b, "role", layer_role_name(l->role));
    json_text_key_string(b, "layer_type", layer_type_name(l->type));
    json_text_key_string(b, "digest", hex);
    buf_printf(b, "}");
    buf_put_u8(b, '\0');
}

struct batch {
    struct digest key;
    struct layer_row row[ROWS_PER_PUT];
    size_t count;
    uint64_t next; /* number of the next row */
};

static int flush(struct analyze *a, struct store *st, struct batch *b)
{
    int r = store_rows_put(st, &b->key, b->row, b->count, &a->err);

    for (size_t i = 0; i < b->count; i++)
        layer_row_done(&b->row[i]);
    b->count = 0;
    return r;
}

static int add(struct analyze *a, struct store *st, struct batch *b, const struct layer *l)
{
    struct buf json = BUF_INIT;

    write_tensor(&json, a, l);
    b->row[b->count++] = (struct layer_row){
        .layer_id = b->next++, .longname = xstrdup(l->tensor), .json = (char *)json.data};
    return b->count == ROWS_PER_PUT ? flush(a, st, b) : 0;
}

/* Experts of a stack are rows of one tensor: the first stands for all. */
static int put_all(struct analyze *a, struct store *st, const struct layer_list *ll,
                   struct batch *b)
{
    AUTO(freep) uint8_t *seen = xcalloc(a->n_units, 1);
    int r = 0;

    for (size_t i = 0; r == 0 && i < ll->count; i++) {
        const struct layer *l = &ll->l[i];
        uint8_t *mark = &seen[a->unit_of[l->file][l->index]];

        if (!*mark)
            r = add(a, st, b, l);
        *mark = 1;
    }
    return r < 0 ? r : flush(a, st, b);
}

int analyze_put_tensors(struct analyze *a, struct store *st, const char *model_id,
                        const struct layer_list *layers, uint64_t n_tensors)
{
    AUTO(freep) struct batch *b = xcalloc(1, sizeof *b);
    uint64_t known;
    int r;

    tensor_rows_key(model_id, &b->key);
    r = store_rows_count(st, &b->key, &known, &a->err);
    return r < 0 || known == n_tensors ? r : put_all(a, st, layers, b);
}
