/* adapter_config.c: adapter_config.json of PEFT, by jansson, behind size and depth limits. Defaults
 * are those of peft.LoraConfig. */
#include "models/adapter.h"

#include "models/hf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC         0x31434441u /* "ADC1" */
#define ALPHA_DEFAULT 8.0
#define NAME_LEN_MAX  1024

void adapter_config_done(struct adapter_config *c)
{
    struct adapter_patterns *p[] = {&c->alphas, &c->ranks};

    for (size_t k = 0; k < ARRAY_LEN(p); k++) {
        for (size_t i = 0; i < p[k]->n; i++)
            free(p[k]->v[i].name);
        free(p[k]->v);
    }
    *c = (struct adapter_config){.alpha = 0};
}

/* --- parsing --------------------------------------------------------------------------------- */

static int wrong(struct err *err, const char *member, const char *want)
{
    return err_set(err, ERR_FORMAT, ADAPTER_CONFIG_NAME ": %.64s must be %s", member, want);
}

static int get_alpha(const json_t *v, const char *member, double *out, struct err *err)
{
    double x = json_number_value(v);

    if (!json_is_number(v) || !(fabs(x) <= ADAPTER_ALPHA_MAX))
        return wrong(err, member, "a number of at most 1e9");
    *out = x;
    return 0;
}

static int get_rank(const json_t *v, const char *member, double *out, struct err *err)
{
    double x = json_number_value(v);

    if (!json_is_integer(v) || x < 1 || x > ADAPTER_RANK_MAX)
        return wrong(err, member, "an integer from 1 to 1000000");
    *out = x;
    return 0;
}

static int get_flag(const json_t *root, const char *member, bool *out, struct err *err)
{
    const json_t *v = json_object_get(root, member);

    if (v && !json_is_null(v) && !json_is_boolean(v))
        return wrong(err, member, "true or false");
    *out = json_is_true(v);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct adapter_pattern *x = a, *y = b;
    int c = strcmp(x->name, y->name);

    return c ? c : (x->order > y->order) - (x->order < y->order);
}

/* PEFT takes keys for regular expressions that a name must end with. In practice they are names. */
static int add_pattern(struct adapter_patterns *p, const char *key, const char *member,
                       struct err *err)
{
    bool whole = *key == '^';
    const char *name = whole ? key + 1 : key;

    if (!*name || strlen(name) > NAME_LEN_MAX || strpbrk(name, "*+?()[]{}|\\^$"))
        return err_set(err, ERR_UNSUPPORTED,
                       ADAPTER_CONFIG_NAME ": %.64s: \"%.100s\" is not the end of a module's name",
                       member, key);
    p->v[p->n] =
        (struct adapter_pattern){.name = xstrdup(name), .order = (uint32_t)p->n, .whole = whole};
    p->n++;
    return 0;
}

static int get_patterns(const json_t *root, const char *member,
                        int (*get)(const json_t *v, const char *member, double *out,
                                   struct err *err),
                        struct adapter_patterns *p, struct err *err)
{
    json_t *all = json_object_get(root, member), *v;
    const char *key;
    int r = 0;

    if (!all || json_is_null(all))
        return 0;
    if (!json_is_object(all) || json_object_size(all) > ADAPTER_PATTERNS_MAX)
        return wrong(err, member, "an object of at most 100000 members");
    p->v = xcalloc(json_object_size(all) + 1, sizeof *p->v);
    json_object_foreach(all, key, v)
    {
        if (r == 0)
            r = add_pattern(p, key, member, err);
        if (r == 0)
            r = get(v, member, &p->v[p->n - 1].value, err);
    }
    if (p->n)
        qsort(p->v, p->n, sizeof *p->v, by_name);
    return r;
}

static int check_type(const json_t *root, struct err *err)
{
    const json_t *v = json_object_get(root, "peft_type");
    const char *s = json_string_value(v);

    if (!v || json_is_null(v) || (s && strcmp(s, "LORA") == 0))
        return 0;
    return err_set(err, ERR_UNSUPPORTED, ADAPTER_CONFIG_NAME ": peft_type must be LORA, not %.64s",
                   s ? s : "this");
}

static int parse(const json_t *root, struct adapter_config *c, struct err *err)
{
    const json_t *alpha = json_object_get(root, "lora_alpha"), *rank = json_object_get(root, "r");
    double x = 0;
    int r = check_type(root, err);

    if (r == 0 && alpha)
        r = get_alpha(alpha, "lora_alpha", &c->alpha, err);
    if (r == 0 && rank)
        r = get_rank(rank, "r", &x, err);
    c->rank = (uint64_t)x;
    if (r == 0)
        r = get_patterns(root, "alpha_pattern", get_alpha, &c->alphas, err);
    if (r == 0)
        r = get_patterns(root, "rank_pattern", get_rank, &c->ranks, err);
    if (r == 0)
        r = get_flag(root, "use_rslora", &c->rank_stabilised, err);
    return r == 0 ? get_flag(root, "fan_in_fan_out", &c->transposed, err) : r;
}

int adapter_config_parse(const char *json, size_t len, struct adapter_config *out, struct err *err)
{
    AUTO(adapter_config_done) struct adapter_config c = {.alpha = ALPHA_DEFAULT};
    json_t *root = NULL;
    int r = hf_load_object(json, len, ADAPTER_CONFIG_NAME, &root, err);

    if (r < 0)
        return r;
    r = parse(root, &c, err);
    json_decref(root);
    if (r < 0)
        return r;
    *out = c;
    c = (struct adapter_config){.alpha = 0};
    return 0;
}

/* --- records --------------------------------------------------------------------------------- */

static void write_patterns(const struct adapter_patterns *p, struct buf *out)
{
    buf_put_u64(out, p->n);
    for (size_t i = 0; i < p->n; i++) {
        buf_put_str(out, p->v[i].name, strlen(p->v[i].name));
        buf_put_f64(out, p->v[i].value);
        buf_put_u32(out, p->v[i].order);
        buf_put_u8(out, p->v[i].whole);
    }
}

void adapter_config_write(const struct adapter_config *c, struct buf *out)
{
    buf_put_u32(out, MAGIC);
    buf_put_f64(out, c->alpha);
    buf_put_u64(out, c->rank);
    buf_put_u8(out, c->rank_stabilised);
    buf_put_u8(out, c->transposed);
    write_patterns(&c->alphas, out);
    write_patterns(&c->ranks, out);
}

static bool read_patterns(struct reader *r, struct adapter_patterns *p)
{
    uint64_t n = reader_u64(r);

    if (r->fault || n > ADAPTER_PATTERNS_MAX)
        return false;
    p->v = xcalloc((size_t)n + 1, sizeof *p->v);
    for (uint64_t i = 0; i < n && !r->fault; i++) {
        struct adapter_pattern *v = &p->v[p->n];
        size_t len;
        const char *s = reader_str(r, NAME_LEN_MAX, &len);

        if (r->fault)
            return false;
        v->name = xasprintf("%.*s", (int)len, s);
        p->n++;
        v->value = reader_f64(r);
        v->order = reader_u32(r);
        v->whole = reader_u8(r) != 0;
        if (!(fabs(v->value) <= ADAPTER_ALPHA_MAX) || (i > 0 && by_name(v - 1, v) > 0))
            return false;
    }
    return !r->fault;
}

int adapter_config_read(const void *bytes, size_t len, struct adapter_config *out, struct err *err)
{
    AUTO(adapter_config_done) struct adapter_config c = {.alpha = 0};
    struct reader r;
    bool good;

    reader_init(&r, bytes, len);
    good = reader_u32(&r) == MAGIC;
    c.alpha = reader_f64(&r);
    c.rank = reader_u64(&r);
    c.rank_stabilised = reader_u8(&r) != 0;
    c.transposed = reader_u8(&r) != 0;
    if (!good || !read_patterns(&r, &c.alphas) || !read_patterns(&r, &c.ranks) || !reader_ok(&r) ||
        !(fabs(c.alpha) <= ADAPTER_ALPHA_MAX))
        return err_set(err, ERR_CRASHED, "a parsed " ADAPTER_CONFIG_NAME " is malformed");
    *out = c;
    c = (struct adapter_config){.alpha = 0};
    return 0;
}

/* --- what it says of a module ---------------------------------------------------------------- */

/* The first pattern of that name, in the order of the file, that may end, or must be, a module's.
 */
static const struct adapter_pattern *find_name(const struct adapter_patterns *p, const char *name,
                                               bool all)
{
    size_t low = 0, high = p->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (strcmp(p->v[mid].name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < p->n && strcmp(p->v[low].name, name) == 0; low++)
        if (all || !p->v[low].whole)
            return &p->v[low];
    return NULL;
}

static const struct adapter_pattern *find(const struct adapter_patterns *p, const char *module)
{
    const struct adapter_pattern *best = NULL;

    for (const char *s = module; p->n && s; s = strchr(s, '.')) {
        const struct adapter_pattern *v;

        s += s > module;
        v = find_name(p, s, s == module);
        if (v && (!best || v->order < best->order))
            best = v;
    }
    return best;
}

uint64_t adapter_rank(const struct adapter_config *c, const char *module)
{
    const struct adapter_pattern *p = find(&c->ranks, adapter_module_of_base(module));

    return p ? (uint64_t)p->value : c->rank;
}

double adapter_scale(const struct adapter_config *c, const char *module, uint64_t rank)
{
    const struct adapter_pattern *p = find(&c->alphas, adapter_module_of_base(module));
    double alpha = p ? p->value : c->alpha;

    return alpha / (c->rank_stabilised ? sqrt((double)rank) : (double)rank);
}
