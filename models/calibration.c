/* calibration.c: see calibration.h. */
#include "models/calibration.h"

#include "models/safetensors.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC        0x314c4143u /* "CAL1" */
#define ALIASES_TEXT (16u << 20) /* bytes */

void calibration_done(struct calibration *c)
{
    for (size_t i = 0; i < c->n_aliases; i++) {
        free(c->alias[i].module);
        free(c->alias[i].base);
    }
    free(c->alias);
    free(c->by_name);
    tensor_table_done(&c->tt);
    *c = (struct calibration){.tt = TENSOR_TABLE_INIT};
}

/* --- order ---------------------------------------------------------------------------------- */

static int by_module(const void *a, const void *b)
{
    const struct calibration_alias *x = a, *y = b;

    return strcmp(x->module, y->module);
}

static int by_name(const void *a, const void *b)
{
    const struct tensor *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static int set_order(struct calibration *c, struct err *err)
{
    c->by_name = xcalloc(c->tt.count ? c->tt.count : 1, sizeof *c->by_name);
    for (size_t i = 0; i < c->tt.count; i++)
        c->by_name[i] = &c->tt.t[i];
    if (c->tt.count)
        qsort(c->by_name, c->tt.count, sizeof *c->by_name, by_name);
    if (c->n_aliases)
        qsort(c->alias, c->n_aliases, sizeof *c->alias, by_module);
    for (size_t i = 1; i < c->n_aliases; i++)
        if (strcmp(c->alias[i - 1].module, c->alias[i].module) == 0)
            return err_set(err, ERR_FORMAT, "\"aliases\" names the module \"%.100s\" twice",
                           c->alias[i].module);
    return 0;
}

const struct tensor *calibration_find(const struct calibration *c, const char *module,
                                      const char *kind)
{
    const struct calibration_alias want = {.module = (char *)(uintptr_t)module};
    const struct calibration_alias *a =
        c->n_aliases ? bsearch(&want, c->alias, c->n_aliases, sizeof want, by_module) : NULL;

    /* A module's own statistics come first. */
    for (int i = 0; i < (a ? 2 : 1); i++) {
        AUTO(freep) char *name = xasprintf("%s.%s", i ? a->base : module, kind);
        const struct tensor t = {.name = name}, *key = &t;
        const struct tensor **at =
            c->tt.count ? bsearch(&key, c->by_name, c->tt.count, sizeof *at, by_name) : NULL;

        if (at)
            return *at;
    }
    return NULL;
}

/* --- reading -------------------------------------------------------------------------------- */

static int add_alias(struct calibration *c, const char *module, const char *base, struct err *err)
{
    if (c->n_aliases == CALIBRATION_ALIASES_MAX)
        return err_set(err, ERR_LIMIT, "\"aliases\" has more than %d entries",
                       CALIBRATION_ALIASES_MAX);
    if ((c->n_aliases & (c->n_aliases - 1)) == 0)
        c->alias = xrealloc(c->alias, 2 * (c->n_aliases + 1) * sizeof *c->alias);
    c->alias[c->n_aliases++] = (struct calibration_alias){xstrdup(module), xstrdup(base)};
    return 0;
}

static int read_aliases(struct calibration *c, const char *text, size_t len, struct err *err)
{
    json_t *object, *value;
    const char *key;
    int r = 0;

    if (len > ALIASES_TEXT)
        return err_set(err, ERR_LIMIT, "\"aliases\" has %zu bytes, the limit is %u", len,
                       ALIASES_TEXT);
    object = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object))
        r = err_set(err, ERR_FORMAT, "\"aliases\" is not the text of a JSON object");
    else
        json_object_foreach(object, key, value)
        {
            if (r == 0 && !json_is_string(value))
                r = err_set(err, ERR_FORMAT, "\"aliases\" holds a value that is no string");
            if (r == 0)
                r = add_alias(c, key, json_string_value(value), err);
        }
    json_decref(object);
    return r;
}

static int read_entry(void *arg, const char *key, const char *value, size_t len, struct err *err)
{
    struct calibration *c = arg;

    if (strcmp(key, "aliases") == 0)
        return read_aliases(c, value, len, err);
    if (strcmp(key, "mode") == 0)
        c->sequential = strcmp(value, "sequential") == 0;
    if (strcmp(key, "n_seq") == 0) {
        char *end;
        unsigned long long n = strtoull(value, &end, 10);

        if (len == 0 || *end || value[0] < '0' || value[0] > '9' || n == 0 || n > INT64_MAX)
            return err_set(err, ERR_FORMAT, "\"n_seq\" is no number of sequences");
        c->n_sequences = n;
    }
    return 0;
}

int calibration_read(int fd, uint64_t file_size, struct calibration *out, struct err *err)
{
    struct calibration c = {.tt = TENSOR_TABLE_INIT};
    int r = safetensors_read_with(fd, file_size, read_entry, &c, &c.tt, err);

    if (r == 0)
        r = set_order(&c, err);
    if (r < 0)
        calibration_done(&c);
    else
        *out = c;
    return r;
}

/* --- bytes ---------------------------------------------------------------------------------- */

void calibration_write(const struct calibration *c, struct buf *out)
{
    struct buf table = BUF_INIT;

    buf_put_u32(out, MAGIC);
    buf_put_u64(out, c->n_sequences);
    buf_put_u8(out, c->sequential);
    buf_put_u64(out, c->n_aliases);
    for (size_t i = 0; i < c->n_aliases; i++) {
        buf_put_str(out, c->alias[i].module, strlen(c->alias[i].module));
        buf_put_str(out, c->alias[i].base, strlen(c->alias[i].base));
    }
    tensor_table_write(&c->tt, &table);
    buf_put_u64(out, table.len);
    buf_put(out, table.data, table.len);
    buf_done(&table);
}

static char *copy_name(struct reader *r)
{
    size_t len;
    const char *s = reader_str(r, TENSOR_NAME_MAX, &len);

    return s && !memchr(s, 0, len) ? xasprintf("%.*s", (int)len, s) : NULL;
}

static bool parse_aliases(struct reader *r, struct calibration *c)
{
    uint64_t n = reader_u64(r);

    for (uint64_t i = 0; i < n && !r->fault; i++) {
        AUTO(freep) char *module = copy_name(r);
        AUTO(freep) char *base = copy_name(r);

        if (!module || !base || add_alias(c, module, base, NULL) < 0)
            return false;
    }
    return !r->fault;
}

int calibration_parse(const void *bytes, size_t len, uint64_t file_size, struct calibration *out,
                      struct err *err)
{
    struct calibration c = {.tt = TENSOR_TABLE_INIT};
    struct reader r;
    uint64_t table_len;
    const void *table;
    int rc;

    reader_init(&r, bytes, len);
    rc = reader_u32(&r) == MAGIC ? 0 : ERR_CRASHED;
    c.n_sequences = reader_u64(&r);
    c.sequential = reader_u8(&r) != 0;
    if (rc == 0 && !parse_aliases(&r, &c))
        rc = ERR_CRASHED;
    table_len = reader_u64(&r);
    table = table_len <= len ? reader_bytes(&r, (size_t)table_len) : NULL;
    if (rc < 0 || !table || !reader_ok(&r))
        rc = err_set(err, ERR_CRASHED, "a reader sent malformed statistics");
    else
        rc = tensor_table_parse(table, (size_t)table_len, file_size, &c.tt, err);
    if (rc == 0)
        rc = set_order(&c, err);
    if (rc < 0)
        calibration_done(&c);
    else
        *out = c;
    return rc;
}
