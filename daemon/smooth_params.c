/* smooth_params.c: see smooth_params.h. */
#include "daemon/smooth_params.h"

#include "daemon/member.h"
#include "daemon/smooth_task.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PARENT "/params"
#define K_MAX  10000000 /* singular values of a layer */

/* As analyze jobs have them. */
static const char *const filters[] = {"layers", "types", "include", "exclude", "compat"};

static int wrong(struct err *err, const char *name, const char *why)
{
    char at[ERR_POINTER_MAX];

    snprintf(at, sizeof at, PARENT "/%s", name);
    return err_set_at(err, ERR_INVALID, at, "%s", why);
}

static int check_names(const json_t *params, struct err *err)
{
    static const char *const names[] = {"method", "percent", "k",       "output", "layers",
                                        "types",  "include", "exclude", "compat"};
    char at[ERR_POINTER_MAX];

    if (!json_is_object(params))
        return err_set_at(err, ERR_INVALID, PARENT, "expected an object");
    if (member_check(params, names, ARRAY_LEN(names), err) == 0)
        return 0;
    snprintf(at, sizeof at, PARENT "%.100s", err->pointer);
    memcpy(err->pointer, at, sizeof at);
    return err->code;
}

static int parse_method(const json_t *params, struct smooth_options *o, struct err *err)
{
    const char *names[SMOOTH_METHOD_COUNT];
    int m = -1, r;

    for (unsigned i = 0; i < SMOOTH_METHOD_COUNT; i++)
        names[i] = smooth_method_name((enum smooth_method)i);
    r = member_word(params, PARENT, "method", names, ARRAY_LEN(names), &m, err);
    if (r == 0 && m < 0)
        r = wrong(err, "method", "expected the name of a method");
    if (r == 0)
        o->method = (enum smooth_method)m;
    return r;
}

static int parse_k(const json_t *k, struct smooth_options *o, struct err *err)
{
    double x = json_number_value(k);

    if (!json_is_number(k) || x != floor(x) || x == 0 || fabs(x) > K_MAX)
        return wrong(err, "k",
                     "expected a whole number, not 0, from -10000000 to 10000000: below 0, so "
                     "many are removed");
    o->k = (int64_t)x;
    return 0;
}

static int parse_amount(const json_t *params, struct smooth_options *o, struct err *err)
{
    const json_t *k = json_object_get(params, "k");
    bool percent = json_object_get(params, "percent") != NULL;
    int r;

    if (o->method != SMOOTH_SVD && (k || percent))
        return wrong(err, k ? "k" : "percent", "only the method svd takes it");
    if (o->method != SMOOTH_SVD)
        return 0;
    if (k && percent)
        return wrong(err, "k", "expected either percent or k");
    if (k)
        return parse_k(k, o, err);
    o->percent = SMOOTH_PERCENT;
    r = member_real(params, PARENT, "percent", -1, 1, &o->percent, err);
    if (r == 0 && o->percent == 0)
        r = wrong(err, "percent", "expected a share that is not 0: below 0, it is removed");
    return r;
}

static int parse_layers(const json_t *params, struct analyze_params *layers, struct err *err)
{
    json_auto_t *some = json_object();
    int r;

    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        json_t *v = json_object_get(params, filters[i]);

        if (v)
            (void)json_object_set(some, filters[i], v);
    }
    r = analyze_params_parse(some, layers, err);
    if (r == 0)
        layers->filter.n_limit = SMOOTH_N_MAX;
    layers->measures = 0;
    return r;
}

int smooth_params_parse(const json_t *params, struct smooth_params *out,
                        struct analyze_params *layers, struct err *err)
{
    struct smooth_params p = {.on = true};
    int r = check_names(params, err);

    if (r == 0)
        r = parse_method(params, &p.opt, err);
    if (r == 0)
        r = parse_amount(params, &p.opt, err);
    if (r == 0)
        r = parse_layers(params, layers, err);
    if (r < 0)
        return r;
    p.opt.compat = layers->compat;
    p.embeddings = layers->filter.n_ids || layers->filter.n_names || layers->filter.types;
    *out = p;
    return 0;
}
