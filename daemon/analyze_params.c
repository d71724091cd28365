/* analyze_params.c: one reader per field, each naming the field it complains about. */
#include "daemon/analyze_params_fit.h"

#include "compute/spectrum.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_EVALS_DEFAULT 10    /* as upstream */
#define COMPAT_MAX_EVALS  15000 /* upstream's defaults, which it cannot lift */
#define COMPAT_MAX_N      50000

/* What the paper's experiments use, not upstream's command line. */
#define FARMS_ROWS_DEFAULT    2000
#define FARMS_WINDOWS_DEFAULT 15

void analyze_params_done(struct analyze_params *p)
{
    layer_filter_done(&p->filter);
    source_ref_done(&p->base);
}

int analyze_params_wrong(struct err *err, const char *field, const char *want)
{
    char pointer[ERR_POINTER_MAX];

    snprintf(pointer, sizeof pointer, "/params/%s", field);
    return err_set_at(err, ERR_INVALID, pointer, "%s must be %s", field, want);
}

int64_t analyze_params_whole(const json_t *v)
{
    double x = json_number_value(v);

    if (!json_is_number(v) || x < 0 || x > 9007199254740991.0 || x != floor(x))
        return -1;
    return (int64_t)x;
}

/* null and absence mean the default that is already in *out. */
static int get_count(const json_t *v, const char *field, uint64_t *out, struct err *err)
{
    if (json_is_null(v)) {
        *out = 0;
        return 0;
    }
    if (analyze_params_whole(v) < 0)
        return analyze_params_wrong(err, field,
                                    "a non-negative integer below 2^53, or null for no limit");
    *out = (uint64_t)analyze_params_whole(v);
    return 0;
}

int analyze_params_flag(const json_t *v, const char *field, bool *out, struct err *err)
{
    if (!json_is_boolean(v))
        return analyze_params_wrong(err, field, "true or false");
    *out = json_is_true(v);
    return 0;
}

static int get_regex(const json_t *v, const char *field, char **out, struct err *err)
{
    if (json_is_null(v))
        return 0;
    if (!json_is_string(v) || json_string_length(v) == 0 ||
        json_string_length(v) > LAYER_REGEX_MAX ||
        strlen(json_string_value(v)) != json_string_length(v))
        return analyze_params_wrong(err, field, "a regular expression of 1 to 1024 bytes");
    free(*out);
    *out = xstrdup(json_string_value(v));
    return 0;
}

static int get_layers(const json_t *v, struct layer_filter *f, struct err *err)
{
    size_t n = json_array_size(v), i;
    const json_t *item;

    if (json_is_null(v))
        return 0;
    if (!json_is_array(v) || n > ANALYZE_LIST_MAX)
        return analyze_params_wrong(err, "layers", "an array of at most 10000 layer ids and names");
    f->ids = xcalloc(n, sizeof *f->ids);
    f->names = xcalloc(n, sizeof *f->names);
    json_array_foreach(v, i, item)
    {
        if (analyze_params_whole(item) >= 0)
            f->ids[f->n_ids++] = analyze_params_whole(item);
        else if (json_is_string(item) && json_string_length(item) <= ANALYZE_NAME_MAX)
            f->names[f->n_names++] = xstrdup(json_string_value(item));
        else
            return analyze_params_wrong(
                err, "layers",
                "an array of layer ids (integers >= 0) and names of at most "
                "4096 bytes");
    }
    return 0;
}

static int get_types(const json_t *v, struct layer_filter *f, struct err *err)
{
    size_t i;
    const json_t *item;

    if (json_is_null(v))
        return 0;
    if (!json_is_array(v))
        return analyze_params_wrong(err, "types", "an array of layer types");
    json_array_foreach(v, i, item)
    {
        int t = json_is_string(item) ? layer_type_from_name(json_string_value(item)) : -1;

        if (t < 0)
            return analyze_params_wrong(
                err, "types", "an array of \"dense\", \"embedding\", \"conv1d\", \"conv2d\"");
        f->types |= 1u << t;
    }
    return 0;
}

static int get_precision(const json_t *v, enum precision *out, struct err *err)
{
    const char *s = json_string_value(v);

    if (s && strcmp(s, "double") == 0)
        *out = PRECISION_DOUBLE;
    else if (s && strcmp(s, "single") == 0)
        *out = PRECISION_SINGLE;
    else
        return analyze_params_wrong(err, "precision", "\"double\" or \"single\"");
    return 0;
}

static int get_compat(const json_t *v, bool *out, struct err *err)
{
    const char *s = json_string_value(v);

    if (json_is_null(v))
        return 0;
    if (!s || strcmp(s, ANALYZE_COMPAT_NAME) != 0)
        return analyze_params_wrong(err, "compat", "null or \"" ANALYZE_COMPAT_NAME "\"");
    *out = true;
    return 0;
}

/* What source_ref_parse() says of "source", of a member of the parameters. */
static int get_base(const json_t *v, struct analyze_params *p, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    struct err e;

    if (json_is_null(v))
        return 0;
    if (!json_is_object(v) || source_ref_parse(v, &p->base, &e) < 0) {
        snprintf(pointer, sizeof pointer, "/params/base%.64s",
                 json_is_object(v) ? e.pointer + strlen("/source") : "");
        return err_set_at(err, ERR_INVALID, pointer,
                          "base must be the model to subtract: {\"path\": …} or {\"upload\": …}");
    }
    p->have_base = true;
    return 0;
}

static const char *const adapter_name[] = {"delta", "merged", "factors"};
_Static_assert(ARRAY_LEN(adapter_name) == ADAPTER_MODE_COUNT, "a name for every mode");

static int get_adapter(const json_t *v, enum adapter_mode *out, struct err *err)
{
    const char *s = json_string_value(v);

    for (unsigned i = 0; s && i < ADAPTER_MODE_COUNT; i++)
        if (strcmp(s, adapter_name[i]) == 0) {
            *out = (enum adapter_mode)i;
            return 0;
        }
    return analyze_params_wrong(err, "adapter", "\"delta\", \"merged\" or \"factors\"");
}

/* true: as upstream does, with compat. */
static int get_products(const json_t *v, struct analyze_params *p, struct err *err)
{
    const char *s = json_string_value(v);

    p->products = !json_is_null(v) && !json_is_false(v);
    if (!p->products)
        return 0;
    if (json_is_true(v))
        p->sparse_products = p->compat;
    else if (s && (strcmp(s, "plain") == 0 || strcmp(s, "sparse") == 0))
        p->sparse_products = *s == 's';
    else
        return analyze_params_wrong(err, "products", "true, false, \"plain\" or \"sparse\"");
    return 0;
}

static json_t *products_json(const struct analyze_params *p)
{
    return p->products ? json_string(p->sparse_products ? "sparse" : "plain") : json_false();
}

static json_t *base_json(const struct analyze_params *p)
{
    if (!p->have_base)
        return json_null();
    return p->base.path ? json_pack("{s:s}", "path", p->base.path)
                        : json_pack("{s:s}", "upload", p->base.upload);
}

int analyze_params_check(const struct analyze_params *p, const struct config *c, struct err *err)
{
    int r = layer_filter_check(&p->filter, err);

    return r == 0 && p->have_base ? source_ref_check(&p->base, c, "/params/base/path", err) : r;
}

static int wrong_farms(struct err *err, const char *field, const char *want)
{
    char pointer[ERR_POINTER_MAX];

    snprintf(pointer, sizeof pointer, "/params/farms/%.64s", field);
    return err_set_at(err, ERR_INVALID, pointer, "farms: %.64s must be %s", field, want);
}

static const struct {
    const char *name;
    enum hill_rule rule;
} farms_fit_name[] = {
    {"xmin_mid", HILL_MID}, {"xmin_peak", HILL_PEAK_UPSTREAM}, {"ks", HILL_KS}, {"top", HILL_TOP}};

static int get_farms_fit(const json_t *v, enum hill_rule *out, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(farms_fit_name); i++)
        if (json_is_string(v) && strcmp(json_string_value(v), farms_fit_name[i].name) == 0) {
            *out = farms_fit_name[i].rule;
            return 0;
        }
    return wrong_farms(err, "fit", "\"xmin_mid\", \"xmin_peak\", \"ks\" or \"top\"");
}

static int get_farms_field(const char *key, const json_t *v, struct farms_params *f,
                           struct err *err)
{
    const char *s = json_string_value(v);
    bool size = strcmp(key, "rows") == 0 || strcmp(key, "windows") == 0;

    if (size && analyze_params_whole(v) < 0)
        return wrong_farms(err, key, "a positive integer");
    if (strcmp(key, "rows") == 0)
        f->rows = (size_t)analyze_params_whole(v);
    else if (size)
        f->windows = (size_t)analyze_params_whole(v);
    else if (strcmp(key, "q") == 0 && json_is_number(v))
        f->q = json_number_value(v);
    else if (strcmp(key, "q") == 0)
        return wrong_farms(err, key, "a number");
    else if (strcmp(key, "fit") == 0)
        return get_farms_fit(v, &f->fit, err);
    else if (strcmp(key, "mode") == 0 && s && strcmp(s, "exact") == 0)
        f->mode = FARMS_EXACT;
    else if (strcmp(key, "mode") == 0 && s && strcmp(s, "fast") == 0)
        f->mode = FARMS_FAST;
    else if (strcmp(key, "mode") == 0)
        return wrong_farms(err, key, "\"exact\" or \"fast\"");
    else
        return wrong_farms(err, key, "left out: there is no such parameter");
    return 0;
}

static int get_farms(const json_t *v, struct analyze_params *p, struct err *err)
{
    const char *key;
    json_t *item;
    int r = 0;

    if (json_is_null(v))
        return 0;
    if (!json_is_object(v))
        return analyze_params_wrong(err, "farms", "an object or null");
    p->want_farms = true;
    p->farms = (struct farms_params){
        .rows = FARMS_ROWS_DEFAULT, .q = 1, .windows = FARMS_WINDOWS_DEFAULT, .fit = HILL_MID};
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        if (r == 0)
            r = get_farms_field(key, item, &p->farms, err);
    }
    return r;
}

/* What the numerical code refuses, as a field of the request. */
static int check_farms(struct analyze_params *p, struct err *err)
{
    struct err e = {0};
    char pointer[ERR_POINTER_MAX];

    if (!p->want_farms)
        return 0;
    p->farms.precision = p->precision;
    if (farms_params_check(&p->farms, &e) == 0)
        return 0;
    snprintf(pointer, sizeof pointer, "/params/farms%.64s", e.pointer);
    return err_set_at(err, e.code, pointer, "farms: %s", e.text);
}

static int get_field(const char *key, const json_t *v, struct analyze_params *p, struct err *err)
{
    struct layer_filter *f = &p->filter;
    char pointer[ERR_POINTER_MAX];
    int r;

    if (strcmp(key, "layers") == 0)
        return get_layers(v, f, err);
    if (strcmp(key, "types") == 0)
        return get_types(v, f, err);
    if (strcmp(key, "include") == 0)
        return get_regex(v, key, &f->include, err);
    if (strcmp(key, "exclude") == 0)
        return get_regex(v, key, &f->exclude, err);
    if (strcmp(key, "min_evals") == 0)
        return get_count(v, key, &f->min_evals, err);
    if (strcmp(key, "max_evals") == 0)
        return get_count(v, key, &f->max_evals, err);
    if (strcmp(key, "max_N") == 0)
        return get_count(v, key, &f->max_n, err);
    if (strcmp(key, "integers") == 0)
        return analyze_params_flag(v, key, &f->integers, err);
    if (strcmp(key, "precision") == 0)
        return get_precision(v, &p->precision, err);
    if (strcmp(key, "farms") == 0)
        return get_farms(v, p, err);
    if (strcmp(key, "fit") == 0)
        return analyze_params_get_fit(v, p, err);
    if (strcmp(key, "base") == 0)
        return get_base(v, p, err);
    if (strcmp(key, "adapter") == 0)
        return get_adapter(v, &p->adapter, err);
    if (strcmp(key, "products") == 0)
        return get_products(v, p, err);
    if (strcmp(key, "compat") == 0)
        return 0; /* read first: it changes defaults */
    if (analyze_params_get_measure(key, v, p, &r, err))
        return r;
    snprintf(pointer, sizeof pointer, "/params/%.64s", key);
    return err_set_at(err, ERR_INVALID, pointer, "an analyze job has no parameter \"%.64s\"", key);
}

int analyze_params_parse(const json_t *params, struct analyze_params *out, struct err *err)
{
    struct analyze_params p = {
        .measures = ANALYZE_MEASURES_DEFAULT,
        .filter = {.min_evals = MIN_EVALS_DEFAULT, .n_limit = SPECTRUM_N_MAX}};
    const json_t *compat = json_object_get(params, "compat");
    const char *key;
    json_t *v;
    int r = compat ? get_compat(compat, &p.compat, err) : 0;

    p.filter.compat = p.compat;
    if (p.compat) {
        p.filter.max_evals = COMPAT_MAX_EVALS;
        p.filter.max_n = COMPAT_MAX_N;
        p.measure.mp = MP_FIT_UPSTREAM;
        p.measure.compat = true;
    }
    json_object_foreach((json_t *)(uintptr_t)params, key, v)
    {
        if (r == 0)
            r = get_field(key, v, &p, err);
    }
    if (r == 0 && p.filter.max_evals && p.filter.max_evals < p.filter.min_evals)
        r = err_set_at(err, ERR_INVALID, "/params/max_evals", "max_evals is below min_evals");
    if (r == 0)
        r = check_farms(&p, err);
    if (r == 0 && p.products && p.have_base)
        r = err_set_at(err, ERR_INVALID, "/params/products",
                       "products are of the model's own weights: leave the base out");
    if (r == 0 && p.adapter == ADAPTER_MERGED && !p.have_base)
        r = err_set_at(err, ERR_INVALID, "/params/adapter",
                       "merged: with what? give the model as base");
    if (r == 0 && p.measures & 1u << MEASURE_BOOTSTRAP && !layer_fit_is_default(&p.fit))
        r = err_set_at(err, ERR_INVALID, "/params/bootstrap",
                       "replicates are fitted by the default fit only: leave fit out");
    if (r < 0)
        analyze_params_done(&p);
    else
        *out = p;
    return r;
}

static json_t *count_or_null(uint64_t v)
{
    return v ? json_integer((json_int_t)v) : json_null();
}

static json_t *string_or_null(const char *s)
{
    return s ? json_string(s) : json_null();
}

static json_t *layers_json(const struct layer_filter *f)
{
    json_t *a = json_array();

    for (size_t i = 0; i < f->n_ids; i++)
        json_array_append_new(a, json_integer(f->ids[i]));
    for (size_t i = 0; i < f->n_names; i++)
        json_array_append_new(a, json_string(f->names[i]));
    return a;
}

static json_t *types_json(unsigned types)
{
    json_t *a = json_array();

    for (unsigned t = 0; t < TYPE_COUNT; t++)
        if (types & 1u << t)
            json_array_append_new(a, json_string(layer_type_name((enum layer_type)t)));
    return a;
}

static json_t *farms_json(const struct analyze_params *p)
{
    const struct farms_params *f = &p->farms;
    size_t fit = 0;

    if (!p->want_farms)
        return json_null();
    while (farms_fit_name[fit].rule != f->fit)
        fit++;
    return json_pack("{s:I,s:f,s:I,s:s,s:s}", "rows", (json_int_t)f->rows, "q", f->q, "windows",
                     (json_int_t)f->windows, "fit", farms_fit_name[fit].name, "mode",
                     f->mode == FARMS_FAST ? "fast" : "exact");
}

char *analyze_params_text(const struct analyze_params *p)
{
    const struct layer_filter *f = &p->filter;
    json_t *o = json_pack(
        "{s:o,s:o,s:o,s:o,s:I,s:o,s:o,s:b,s:s,s:o,s:o}", "layers", layers_json(f), "types",
        types_json(f->types), "include", string_or_null(f->include), "exclude",
        string_or_null(f->exclude), "min_evals", (json_int_t)f->min_evals, "max_evals",
        count_or_null(f->max_evals), "max_N", count_or_null(f->max_n), "integers", f->integers,
        "precision", p->precision == PRECISION_SINGLE ? "single" : "double", "compat",
        string_or_null(p->compat ? ANALYZE_COMPAT_NAME : NULL), "farms", farms_json(p));
    char *text;

    json_object_set_new(o, "fit", analyze_params_fit_json(&p->fit));
    json_object_set_new(o, "base", base_json(p));
    json_object_set_new(o, "products", products_json(p));
    json_object_set_new(o, "adapter", json_string(adapter_name[p->adapter]));
    for (unsigned m = 0; m < MEASURE_COUNT; m++)
        json_object_set_new(o, measure_info((enum measure)m)->name,
                            analyze_params_measure_json(p, (enum measure)m));
    ASSERT(o != NULL);
    text = json_dumps(o, JSON_COMPACT);
    ASSERT(text != NULL);
    json_decref(o);
    return text;
}
