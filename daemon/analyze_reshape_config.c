/* analyze_reshape_config.c: see analyze_reshape.h. */
#include "daemon/analyze_reshape.h"

#include "common/fdio.h"
#include "models/json_edit.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a model of several parts keeps what is said of its language. */
static const char nested[] = "text_config";

/* "model.layers.3.mlp.experts.5.down_proj" in a list of what was not quantised would be another
 * one's name afterwards. */
static bool names_experts(const json_t *quantisation)
{
    AUTO(freep) char *text = quantisation ? json_dumps(quantisation, 0) : NULL;

    for (const char *p = text; p && (p = strstr(p, "experts.")) != NULL; p++)
        if (isdigit((unsigned char)p[8]))
            return true;
    return false;
}

int analyze_reshape_config_read(struct analyze *a, struct err *err)
{
    struct reshape *r = a->prune->reshape;
    const struct source_file *f = &a->source->config;
    AUTO(freep) char *text = NULL;
    size_t len = (size_t)f->id.size;
    int rc;

    if (f->fd < 0)
        return 0;
    if (f->id.size > HF_CONFIG_BYTES_MAX)
        return err_set_at(err, ERR_LIMIT, "/source", "config.json has %llu bytes, the limit is %u",
                          (unsigned long long)f->id.size, HF_CONFIG_BYTES_MAX);
    text = xmalloc(len + 1);
    rc = fd_pread_all(f->fd, text, len, 0, err);
    if (rc < 0)
        return rc;
    r->config_json = json_loadb(text, len, 0, NULL);
    if (!json_is_object(r->config_json))
        return err_set_at(err, ERR_FORMAT, "/source", "config.json is no JSON object");
    if (names_experts(json_object_get(r->config_json, "quantization_config")))
        return err_set_at(err, ERR_UNSUPPORTED, "/source",
                          "the quantization_config in config.json names experts by number");
    buf_put(&r->config, text, len);
    return 0;
}

uint64_t analyze_reshape_config_number(const struct reshape *r, const char *const *keys)
{
    const json_t *object[] = {r->config_json, json_object_get(r->config_json, nested)};

    for (size_t k = 0; k < ARRAY_LEN(object); k++)
        for (size_t i = 0; keys[i]; i++) {
            json_int_t v = json_integer_value(json_object_get(object[k], keys[i]));

            if (v > 0)
                return (uint64_t)v;
        }
    return 0;
}

int analyze_reshape_config_edit(struct reshape *r, const char *const *keys, uint64_t value,
                                struct err *err)
{
    const char *const objects[] = {NULL, nested};

    if (!r->config_json)
        return 0;
    for (size_t k = 0; k < ARRAY_LEN(objects); k++) {
        const json_t *object =
            objects[k] ? json_object_get(r->config_json, objects[k]) : r->config_json;

        for (size_t i = 0; keys[i]; i++) {
            const json_t *v = json_object_get(object, keys[i]);

            if (!json_is_integer(v) || (uint64_t)json_integer_value(v) != value)
                continue;
            ASSERT(r->n_edits < RESHAPE_EDITS_MAX);
            r->edit[r->n_edits++] = (struct reshape_edit){objects[k], keys[i]};
        }
    }
    if (r->n_edits == 0)
        return err_set_at(err, ERR_UNSUPPORTED, "/source",
                          "config.json has no \"%s\", or another of its names, that is %llu as in "
                          "the weights",
                          keys[0], (unsigned long long)value);
    return 0;
}

int analyze_reshape_config_text(const struct reshape *r, struct buf *out, struct err *err)
{
    char value[24];
    int rc = 0;

    (void)snprintf(value, sizeof value, "%llu", (unsigned long long)r->kept);
    buf_put(out, r->config.data, r->config.len);
    for (size_t i = 0; rc == 0 && i < r->n_edits; i++) {
        const struct reshape_edit *e = &r->edit[i];
        const char *const path[] = {e->object ? e->object : e->key, e->key};
        struct buf next = BUF_INIT;

        rc = json_edit_set((const char *)out->data, out->len, path, e->object ? 2 : 1, value, &next,
                           err);
        if (rc == 0) {
            buf_done(out);
            *out = next;
        }
    }
    return rc;
}
