/* analyze_prune_config.c: see analyze_prune.h.
 *
 * Configuration is changed for sparse-bitmask alone: loaders look there for what the tensors are.
 * It is text that belongs to somebody else; nothing but the one member changes.
 */
#include "daemon/analyze_prune.h"

#include "common/fdio.h"
#include "common/json_out.h"
#include "common/json_text.h"
#include "models/json_edit.h"
#include "models/safetensors_write.h"

#include <stdlib.h>
#include <string.h>

#define MEMBER "quantization_config"

bool analyze_prune_edits(const struct analyze *a, const char *name)
{
    return (a->prune->params.decode || a->prune->params.format == FORMAT_SPARSE_BITMASK) &&
           strcmp(name, "config.json") == 0;
}

/* Nothing but how zeros are left out: weights that are quantised, too, would not be read. */
static int check_removable(const json_t *q, struct err *err)
{
    static const char *const known[] = {"quant_method", "version", "sparsity_config",
                                        "transform_config"};
    const json_t *v;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)q, key, v)
    {
        size_t i = 0;

        while (i < ARRAY_LEN(known) && strcmp(key, known[i]) != 0)
            i++;
        if (i == ARRAY_LEN(known))
            return err_set_at(err, ERR_UNSUPPORTED, "/source",
                              "config.json has \"" MEMBER "\" with \"%.100s\": more than zeros "
                              "were compressed",
                              key);
    }
    return 0;
}

int analyze_prune_config_check(const struct analyze *a, struct err *err)
{
    const struct source_file *f = &a->source->config;
    AUTO(freep) char *text = NULL;
    json_auto_t *config = NULL;
    int r;

    bool decode = a->prune->params.decode;

    if ((!decode && a->prune->params.format != FORMAT_SPARSE_BITMASK) || f->fd < 0)
        return 0;
    if (f->id.size > HF_CONFIG_BYTES_MAX)
        return err_set_at(err, ERR_LIMIT, "/source", "config.json has more than %u bytes",
                          HF_CONFIG_BYTES_MAX);
    text = xmalloc((size_t)f->id.size + 1);
    r = fd_pread_all(f->fd, text, (size_t)f->id.size, 0, err);
    if (r < 0)
        return r;
    config = json_loadb(text, (size_t)f->id.size, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(config))
        return err_set_at(err, ERR_FORMAT, "/source", "config.json is not a JSON object");
    if (decode)
        return check_removable(json_object_get(config, MEMBER), err);
    if (json_object_get(config, MEMBER) || json_object_get(config, "compression_config"))
        return err_set_at(err, ERR_UNSUPPORTED, "/params/output/format",
                          "config.json has a \"%s\" already: a model is compressed once",
                          json_object_get(config, MEMBER) ? MEMBER : "compression_config");
    return 0;
}

static bool two_of_four(const struct prune_work *w)
{
    for (size_t i = 0; i < w->n_rows; i++) {
        const struct prune_options *o = &w->row[i].task.opt;

        if (o->selection != PRUNE_N_OF_M || o->m != 4 || o->pruned != 2)
            return false;
    }
    return w->n_rows > 0;
}

/* Matrices of linear layers that are stored as they were: what readers call "ignore". */
static void write_ignored(const struct analyze *a, struct buf *b)
{
    const struct prune_work *w = a->prune;
    AUTO(freep) bool *compressed = xcalloc(a->layers.count + 1, sizeof *compressed);
    bool first = true;

    for (size_t i = 0; i < w->n_rows; i++)
        compressed[w->row[i].layer] = w->row[i].task.form == PRUNE_COMPRESSED;
    buf_put_u8(b, '[');
    for (size_t i = 0; i < a->layers.count; i++) {
        const struct layer *l = &a->layers.l[i];

        if (compressed[i] || l->expert >= 0 || l->rank != 2 || l->type != TYPE_DENSE)
            continue;
        if (!first)
            buf_printf(b, ", ");
        json_text_string(b, l->longname);
        first = false;
    }
    buf_put_u8(b, ']');
}

/* It may be gone already: the matrices are what they are. */
static int remove_member(const char *text, size_t len, const char *const *path, struct buf *out,
                         struct err *err)
{
    int r = json_edit_remove(text, len, path, 1, out, err);

    if (r == ERR_NOT_FOUND) {
        buf_put(out, text, len);
        r = 0;
    }
    return r;
}

int analyze_prune_edit(const struct analyze *a, const struct buf *text, struct buf *out,
                       struct err *err)
{
    static const char *const path[] = {MEMBER};
    AUTO(buf_done) struct buf b = BUF_INIT;

    if (a->prune->params.decode)
        return remove_member((const char *)text->data, text->len, path, out, err);
    buf_printf(&b, "{\n  \"quant_method\": \"compressed-tensors\",\n  \"version\": \"0.14.0\",\n"
                   "  \"sparsity_config\": {\n    \"format\": \"sparse-bitmask\",\n"
                   "    \"global_sparsity\": ");
    json_text_real(&b, analyze_prune_model_sparsity(a));
    buf_printf(&b,
               ",\n    \"sparsity_structure\": \"%s\",\n    \"targets\": [\"Linear\"],\n"
               "    \"ignore\": ",
               two_of_four(a->prune) ? "2:4" : "unstructured");
    write_ignored(a, &b);
    buf_printf(&b, ",\n    \"registry_requires_subclass\": false\n  }\n}");
    buf_put_u8(&b, '\0');
    return json_edit_set((const char *)text->data, text->len, path, 1, (const char *)b.data, out,
                         err);
}

/* --- the index ------------------------------------------------------------------------------- */

const char *analyze_prune_index_name(const struct analyze *a)
{
    const struct prune_params *p = &a->prune->params;

    return (p->format == FORMAT_DENSE && !p->decode) || a->source->index.fd < 0
               ? NULL
               : a->source->index.name;
}

static size_t count_tensors(const struct analyze *a)
{
    size_t n = 0;

    for (size_t f = 0; f < a->source->n_files; f++)
        n += a->prune->shard[f].tensor ? a->prune->shard[f].n_tensors : a->table[f].count;
    return n;
}

int analyze_prune_index(const struct analyze *a, struct buf *out, struct err *err)
{
    AUTO(freep)
    struct safetensors_place *place = xcalloc(count_tensors(a) + 1, sizeof *place);
    uint64_t total = 0;
    size_t n = 0;

    for (size_t f = 0; f < a->source->n_files; f++) {
        const struct prune_shard *s = &a->prune->shard[f];
        size_t count = s->tensor ? s->n_tensors : s->absent ? 0 : a->table[f].count;

        for (size_t i = 0; i < count; i++) {
            const struct tensor *t = s->tensor ? &s->tensor[i].t : &a->table[f].t[i];

            place[n++] = (struct safetensors_place){t->name, a->source->file[f].name};
            total += t->nbytes;
        }
    }
    return safetensors_write_index(place, n, total, out, err);
}
