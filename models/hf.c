/* hf.c: index and config of a Hugging Face directory, by jansson, behind size and depth limits. */
#include "models/hf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX    32
#define ENTRIES_MAX  4000000
#define NAME_MAX_HF  65536
#define INDEX_MAGIC  0x31584948u
#define CONFIG_MAGIC 0x31464348u

/* Nesting is checked before the parser recurses. */
static int check_depth(const char *json, size_t len, const char *what, struct err *err)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        if (in_string) {
            if (json[i] == '\\')
                i++;
            else if (json[i] == '"')
                in_string = false;
            continue;
        }
        in_string = json[i] == '"';
        if ((json[i] == '{' || json[i] == '[') && ++depth > DEPTH_MAX)
            return err_set(err, ERR_LIMIT, "%s is nested more than %d deep", what, DEPTH_MAX);
        if ((json[i] == '}' || json[i] == ']') && depth > 0)
            depth--;
    }
    return 0;
}

int hf_load_object(const char *json, size_t len, const char *what, json_t **out, struct err *err)
{
    json_error_t e;
    int r = check_depth(json, len, what, err);

    if (r < 0)
        return r;
    *out = json_loadb(json, len, JSON_REJECT_DUPLICATES, &e);
    if (!*out)
        return err_set(err, ERR_FORMAT, "%s is not valid JSON: %s (line %d)", what, e.text, e.line);
    if (json_is_object(*out))
        return 0;
    json_decref(*out);
    return err_set(err, ERR_FORMAT, "%s is not a JSON object", what);
}

/* --- index --------------------------------------------------------------------------------- */

void hf_index_done(struct hf_index *ix)
{
    for (size_t i = 0; i < ix->n_shards; i++)
        free(ix->shard[i]);
    for (size_t i = 0; i < ix->n_entries; i++)
        free(ix->entry[i].tensor);
    free(ix->shard);
    free(ix->entry);
    *ix = (struct hf_index)HF_INDEX_INIT;
}

bool hf_shard_name_ok(const char *name, size_t len)
{
    static const char suffix[] = ".safetensors";
    size_t n = sizeof suffix - 1;

    if (len <= n || len > 255 || name[0] == '.' || memcmp(name + len - n, suffix, n) != 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == '/' || name[i] == '\\')
            return false;
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_tensor(const void *a, const void *b)
{
    return strcmp(((const struct hf_index_entry *)a)->tensor,
                  ((const struct hf_index_entry *)b)->tensor);
}

static int check_shards(const json_t *map, struct err *err)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)map, key, v)
    {
        const char *s = json_string_value(v);

        if (!s)
            return err_set(err, ERR_FORMAT, "the index gives no file name for \"%.100s\"", key);
        if (!hf_shard_name_ok(s, json_string_length(v)))
            return err_set(err, ERR_FORMAT,
                           "the index names the unsafe file \"%.100s\" for \"%.100s\"", s, key);
    }
    return 0;
}

/* Distinct shard names, ascending. */
static int collect_shards(const json_t *map, struct hf_index *ix, struct err *err)
{
    size_t n = json_object_size(map), k = 0;
    AUTO(freep) const char **all = xcalloc(n, sizeof *all);
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)map, key, v) all[k++] = json_string_value(v);
    qsort(all, n, sizeof *all, by_text);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(all[i - 1], all[i]) == 0)
            continue;
        if (ix->n_shards == HF_SHARDS_MAX)
            return err_set(err, ERR_LIMIT, "the index names more than %d files", HF_SHARDS_MAX);
        ix->shard = xrealloc(ix->shard, (ix->n_shards + 1) * sizeof *ix->shard);
        ix->shard[ix->n_shards++] = xstrdup(all[i]);
    }
    return 0;
}

static void collect_entries(const json_t *map, struct hf_index *ix)
{
    const char *key;
    json_t *v;

    ix->entry = xcalloc(json_object_size(map), sizeof *ix->entry);
    json_object_foreach((json_t *)(uintptr_t)map, key, v)
    {
        const char *s = json_string_value(v);
        char **at = bsearch(&s, ix->shard, ix->n_shards, sizeof *ix->shard, by_text);

        ix->entry[ix->n_entries].tensor = xstrdup(key);
        ix->entry[ix->n_entries++].shard = (uint32_t)(at - ix->shard);
    }
    qsort(ix->entry, ix->n_entries, sizeof *ix->entry, by_tensor);
}

int hf_index_parse(const char *json, size_t len, struct hf_index *out, struct err *err)
{
    struct hf_index ix = HF_INDEX_INIT;
    json_t *root = NULL;
    const json_t *map;
    int r = hf_load_object(json, len, "the index file", &root, err);

    if (r < 0)
        return r;
    map = json_object_get(root, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        r = err_set(err, ERR_FORMAT, "the index file has no \"weight_map\"");
    else if (json_object_size(map) > ENTRIES_MAX)
        r = err_set(err, ERR_LIMIT, "the index names more than %d tensors", ENTRIES_MAX);
    if (r == 0)
        r = check_shards(map, err);
    if (r == 0)
        r = collect_shards(map, &ix, err);
    if (r == 0) {
        collect_entries(map, &ix);
        *out = ix;
    } else {
        hf_index_done(&ix);
    }
    json_decref(root);
    return r;
}

void hf_index_write(const struct hf_index *ix, struct buf *out)
{
    buf_put_u32(out, INDEX_MAGIC);
    buf_put_u32(out, (uint32_t)ix->n_shards);
    for (size_t i = 0; i < ix->n_shards; i++)
        buf_put_str(out, ix->shard[i], strlen(ix->shard[i]));
    buf_put_u64(out, ix->n_entries);
    for (size_t i = 0; i < ix->n_entries; i++) {
        buf_put_str(out, ix->entry[i].tensor, strlen(ix->entry[i].tensor));
        buf_put_u32(out, ix->entry[i].shard);
    }
}

static bool read_shards(struct reader *r, struct hf_index *ix)
{
    uint32_t n = reader_u32(r);

    for (uint32_t i = 0; i < n && !r->fault; i++) {
        size_t len;
        const char *s = reader_str(r, 255, &len);

        if (!s || n > HF_SHARDS_MAX || !hf_shard_name_ok(s, len))
            return false;
        ix->shard = xrealloc(ix->shard, (ix->n_shards + 1) * sizeof *ix->shard);
        ix->shard[ix->n_shards++] = xasprintf("%.*s", (int)len, s);
        if (i > 0 && strcmp(ix->shard[i - 1], ix->shard[i]) >= 0)
            return false;
    }
    return !r->fault;
}

static bool read_entries(struct reader *r, struct hf_index *ix)
{
    uint64_t n = reader_u64(r);
    size_t cap = 0;

    for (uint64_t i = 0; i < n && !r->fault; i++) {
        size_t len;
        const char *s = reader_str(r, NAME_MAX_HF, &len);
        uint32_t shard = reader_u32(r);

        if (!s || memchr(s, 0, len) || shard >= ix->n_shards)
            return false;
        if (ix->n_entries == cap) {
            cap = cap ? 2 * cap : 256;
            ix->entry = xrealloc(ix->entry, cap * sizeof *ix->entry);
        }
        ix->entry[ix->n_entries++] = (struct hf_index_entry){xasprintf("%.*s", (int)len, s), shard};
    }
    return !r->fault;
}

int hf_index_read(const void *bytes, size_t len, struct hf_index *out, struct err *err)
{
    struct hf_index ix = HF_INDEX_INIT;
    struct reader r;

    reader_init(&r, bytes, len);
    if (reader_u32(&r) != INDEX_MAGIC || !read_shards(&r, &ix) || !read_entries(&r, &ix) ||
        !reader_ok(&r)) {
        hf_index_done(&ix);
        return err_set(err, ERR_CRASHED, "a parsed index is malformed");
    }
    *out = ix;
    return 0;
}

/* --- config -------------------------------------------------------------------------------- */

/* The first of `keys` (ended by NULL) that is a non-negative integer, here or in text_config. */
static uint64_t number(const json_t *root, const char *const *keys)
{
    const json_t *text = json_object_get(root, "text_config");

    for (size_t i = 0; keys[i]; i++) {
        const json_t *v = json_object_get(root, keys[i]);

        if (!v)
            v = json_object_get(text, keys[i]);
        if (json_is_integer(v) && json_integer_value(v) >= 0)
            return (uint64_t)json_integer_value(v);
    }
    return 0;
}

static void copy_plain(const char *s, char *out, size_t size)
{
    size_t n = 0;

    for (; s && *s && n + 1 < size; s++)
        if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
            strchr("_-.", *s))
            out[n++] = *s;
    out[n] = '\0';
}

int hf_config_parse(const char *json, size_t len, struct hf_config *out, struct err *err)
{
    static const char *const hidden[] = {"hidden_size", "n_embd", "d_model", NULL};
    static const char *const layers[] = {"num_hidden_layers", "n_layer", NULL};
    static const char *const experts[] = {"num_local_experts", "num_experts", "n_routed_experts",
                                          NULL};
    static const char *const vocab[] = {"vocab_size", NULL};
    json_t *root = NULL;
    int r = hf_load_object(json, len, "config.json", &root, err);

    if (r < 0)
        return r;
    memset(out, 0, sizeof *out);
    copy_plain(json_string_value(json_object_get(root, "model_type")), out->model_type,
               sizeof out->model_type);
    out->hidden_size = number(root, hidden);
    out->num_layers = number(root, layers);
    out->num_experts = number(root, experts);
    out->vocab_size = number(root, vocab);
    out->tie_word_embeddings = json_is_true(json_object_get(root, "tie_word_embeddings"));
    json_decref(root);
    return 0;
}

void hf_config_write(const struct hf_config *c, struct buf *out)
{
    buf_put_u32(out, CONFIG_MAGIC);
    buf_put_str(out, c->model_type, strlen(c->model_type));
    buf_put_u64(out, c->hidden_size);
    buf_put_u64(out, c->num_layers);
    buf_put_u64(out, c->num_experts);
    buf_put_u64(out, c->vocab_size);
    buf_put_u8(out, c->tie_word_embeddings);
}

int hf_config_read(const void *bytes, size_t len, struct hf_config *out, struct err *err)
{
    struct hf_config c = {0};
    struct reader r;
    const char *s;
    size_t n;

    reader_init(&r, bytes, len);
    if (reader_u32(&r) != CONFIG_MAGIC)
        return err_set(err, ERR_CRASHED, "a parsed config.json is malformed");
    s = reader_str(&r, sizeof c.model_type - 1, &n);
    c.hidden_size = reader_u64(&r);
    c.num_layers = reader_u64(&r);
    c.num_experts = reader_u64(&r);
    c.vocab_size = reader_u64(&r);
    c.tie_word_embeddings = reader_u8(&r) != 0;
    if (!reader_ok(&r))
        return err_set(err, ERR_CRASHED, "a parsed config.json is malformed");
    AUTO(freep) char *type = xasprintf("%.*s", (int)n, s);
    copy_plain(type, c.model_type, sizeof c.model_type);
    *out = c;
    return 0;
}
