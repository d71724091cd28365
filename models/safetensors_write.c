/* safetensors_write.c: see safetensors_write.h. What is written is read back before it is handed
 * out: no rule of the reader's is repeated here. */
#include "models/safetensors_write.h"

#include "common/json_text.h"
#include "models/hf.h"
#include "models/safetensors.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 8 /* of the data, so that they can be mapped */

/* --- metadata ------------------------------------------------------------------------------- */

void safetensors_metadata_done(struct safetensors_metadata *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->pair[i].key);
        free(m->pair[i].value);
    }
    free(m->pair);
    *m = (struct safetensors_metadata)SAFETENSORS_METADATA_INIT;
}

static const struct safetensors_pair *find(const struct safetensors_metadata *m, const char *key)
{
    for (size_t i = 0; m && i < m->count; i++)
        if (strcmp(m->pair[i].key, key) == 0)
            return &m->pair[i];
    return NULL;
}

void safetensors_metadata_set(struct safetensors_metadata *m, const char *key, const char *value)
{
    const struct safetensors_pair *there = find(m, key);
    char *copy = xstrdup(value);

    if (there) {
        struct safetensors_pair *p = &m->pair[there - m->pair];

        free(p->value);
        p->value = copy;
        return;
    }
    m->pair = xrealloc(m->pair, (m->count + 1) * sizeof *m->pair);
    m->pair[m->count++] = (struct safetensors_pair){xstrdup(key), copy};
}

#define PAIRS_MAX 10000 /* each is looked for among those before it */

int safetensors_metadata_keep(void *arg, const char *key, const char *value, size_t len,
                              struct err *err)
{
    struct safetensors_metadata *m = arg;

    (void)len; /* it ends in NUL and holds none */
    if (m->count == PAIRS_MAX)
        return err_set(err, ERR_LIMIT, "\"__metadata__\" has more than %d entries", PAIRS_MAX);
    safetensors_metadata_set(m, key, value);
    return 0;
}

/* Loaders refuse metadata that name another one, or none. */
static bool format_known(const struct safetensors_metadata *m)
{
    static const char *const known[] = {"pt", "tf", "flax", "mlx"};
    const struct safetensors_pair *p = find(m, "format");

    for (size_t i = 0; p && i < ARRAY_LEN(known); i++)
        if (strcmp(p->value, known[i]) == 0)
            return true;
    return false;
}

static void write_metadata(const struct safetensors_metadata *m, struct buf *b)
{
    bool known = format_known(m);

    buf_printf(b, "{\"__metadata__\":{");
    if (!known)
        json_text_key_string(b, "format", "pt");
    for (size_t i = 0; m && i < m->count; i++) {
        if (!known && strcmp(m->pair[i].key, "format") == 0)
            continue;
        if (i > 0 || !known)
            buf_put_u8(b, ',');
        json_text_string(b, m->pair[i].key);
        buf_put_u8(b, ':');
        json_text_string(b, m->pair[i].value);
    }
    buf_put_u8(b, '}');
}

/* --- the header ----------------------------------------------------------------------------- */

static void write_tensor(const struct tensor *t, uint64_t at, struct buf *b)
{
    buf_put_u8(b, ',');
    json_text_string(b, t->name);
    buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(t->dtype));
    for (uint32_t d = 0; d < t->rank; d++)
        buf_printf(b, d ? ",%llu" : "%llu", (unsigned long long)t->dims[d]);
    buf_printf(b, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
               (unsigned long long)(at + t->nbytes));
}

static int pad(struct buf *b, uint64_t reserve, struct err *err)
{
    uint64_t want = b->len + 8;

    if (!reserve)
        want = (want + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (reserve && want > reserve)
        return err_set(err, ERR_LIMIT, "a header of %llu bytes does not fit the %llu reserved",
                       (unsigned long long)want, (unsigned long long)reserve);
    want = (reserve ? reserve : want) - 8;
    if (want > SAFETENSORS_HEADER_MAX)
        return err_set(err, ERR_LIMIT, "the header would have %llu bytes, the limit is %d",
                       (unsigned long long)want, SAFETENSORS_HEADER_MAX);
    while (b->len < want)
        buf_put_u8(b, ' ');
    return 0;
}

int safetensors_write_header(const struct tensor *t, size_t n, const struct safetensors_metadata *m,
                             uint64_t reserve, struct buf *out, struct err *err)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct tensor_table check = TENSOR_TABLE_INIT;
    uint64_t at = 0;
    int r;

    write_metadata(m, &b);
    for (size_t i = 0; i < n; i++) {
        if (t[i].dtype >= DTYPE_COUNT || t[i].rank > TENSOR_RANK_MAX)
            return err_set(err, ERR_FORMAT, "tensor \"%.100s\" cannot be described", t[i].name);
        write_tensor(&t[i], at, &b);
        if (__builtin_add_overflow(at, t[i].nbytes, &at) || at > INT64_MAX)
            return err_set(err, ERR_LIMIT, "the tensors have too many bytes for a file");
        if (b.len > SAFETENSORS_HEADER_MAX)
            break;
    }
    buf_put_u8(&b, '}');
    r = pad(&b, reserve, err);
    if (r == 0)
        r = safetensors_parse((const char *)b.data, b.len, 8 + b.len + at, &check, err);
    if (r < 0)
        return r;
    tensor_table_done(&check);
    buf_put_u64(out, b.len);
    buf_put(out, b.data, b.len);
    return 0;
}

/* --- the index ------------------------------------------------------------------------------ */

static int by_tensor(const void *x, const void *y)
{
    const struct safetensors_place *p = x, *q = y;

    return strcmp(p->tensor, q->tensor);
}

int safetensors_write_index(struct safetensors_place *places, size_t n, uint64_t total,
                            struct buf *out, struct err *err)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct hf_index check = HF_INDEX_INIT;
    int r;

    if (n)
        qsort(places, n, sizeof *places, by_tensor);
    buf_printf(&b, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n  \"weight_map\": {",
               (unsigned long long)total);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&b, i ? ",\n    " : "\n    ");
        json_text_string(&b, places[i].tensor);
        buf_printf(&b, ": ");
        json_text_string(&b, places[i].file);
    }
    buf_printf(&b, "\n  }\n}\n");
    for (size_t i = 1; i < n; i++)
        if (strcmp(places[i - 1].tensor, places[i].tensor) == 0)
            return err_set(err, ERR_FORMAT, "the tensor name \"%.100s\" appears twice",
                           places[i].tensor);
    r = hf_index_parse((const char *)b.data, b.len, &check, err);
    if (r < 0)
        return r;
    hf_index_done(&check);
    buf_put(out, b.data, b.len);
    return 0;
}
