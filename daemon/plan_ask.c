/* plan_ask.c: see plan_ask.h. */
#include "daemon/plan_ask.h"

#include "daemon/locate.h"
#include "daemon/member.h"
#include "daemon/plan_bits.h"
#include "daemon/plan_width.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON            0.3
#define INNER              (1.0 / 3) /* of epsilon */
#define OUTLIER_FACTOR     5         /* of the recipes that the authors publish for 7B */
#define OUTLIER_FACTOR_MAX 1000
#define OWL_WIDTH          0.16
#define DLP_WIDTH          0.3
#define MAX_SPARSITY       0.99

#define ALPHAQ ALLOCATE_METHOD_COUNT /* a method of plans, not of allocate() */

static const char *const methods[] = {
    [ALLOCATE_ALPHAPRUNING] = "alphapruning",
    [ALLOCATE_UNIFORM] = "uniform",
    [ALLOCATE_UNIFORM_PLUS] = "uniform_plus",
    [ALLOCATE_ER] = "er",
    [ALLOCATE_ERK] = "erk",
    [ALLOCATE_ATP] = "atp",
    [ALLOCATE_OWL] = "owl",
    [ALLOCATE_DLP] = "dlp",
    [ALLOCATE_GLOBAL_MAGNITUDE] = "global_magnitude",
    [ALLOCATE_LAMP] = "lamp",
    [ALPHAQ] = "alphaq",
};
static const char *const mappings[] = {"block_wise", "per_matrix", "mixed"};

#define ONLY(m)  (1u << (m))
#define ALPHA    ONLY(ALLOCATE_ALPHAPRUNING)
#define OUTLIERS (ONLY(ALLOCATE_OWL) | ONLY(ALLOCATE_DLP))
#define BITS     ONLY(ALPHAQ)
#define ANY      (~0u)
#define SHARES   (ANY & ~BITS)

/* Members, and the methods that take them. */
static const struct member {
    const char *name;
    unsigned methods;
} members[] = {
    {"analysis", ANY},        {"metrics", ANY},
    {"source", ANY},          {"method", ANY},
    {"sparsity", SHARES},     {"limits", SHARES},
    {"exclude", ANY},         {"m", SHARES},
    {"structure", SHARES},    {"metric", ALPHA | OUTLIERS | BITS},
    {"epsilon", ALPHA},       {"mapping", ALPHA},
    {"inner_epsilon", ALPHA}, {"mode", ALPHA},
    {"direction", ALPHA},     {"peak_compat", ALPHA | BITS},
    {"stats", OUTLIERS},      {"outlier_factor", ONLY(ALLOCATE_OWL)},
    {"width", OUTLIERS},      {"beta", ONLY(ALLOCATE_ATP)},
    {"bits", BITS},           {"analyze", ANY},
};

const char *plan_method_name(enum allocate_method m)
{
    return methods[m];
}

const char *plan_ask_method(const struct plan_ask *a)
{
    return methods[a->alphaq ? ALPHAQ : a->opt.method];
}

const char *plan_mapping_name(enum allocate_mapping m)
{
    return mappings[m];
}

/* --- members of simple types ----------------------------------------------------------------- */

static int bad(struct err *err, const char *name, const char *why)
{
    char at[ERR_POINTER_MAX];

    snprintf(at, sizeof at, "/%s", name);
    return err_set_at(err, ERR_INVALID, at, "%s", why);
}

/* A number between 0 and 1. */
static int get_share(const json_t *body, const char *name, double missing, double *out,
                     struct err *err)
{
    const json_t *v = json_object_get(body, name);
    double x = v ? json_number_value(v) : missing;

    if ((v && !json_is_number(v)) || x < 0 || x > 1)
        return bad(err, name, "expected a number from 0 to 1");
    *out = x;
    return 0;
}

/* One of `n` words; the first when it is missing. */
static int get_word(const json_t *body, const char *name, const char *const *words, size_t n,
                    size_t *out, struct err *err)
{
    const json_t *v = json_object_get(body, name);
    char why[256] = "expected ";

    for (size_t i = 0; i < n; i++)
        if (v ? json_is_string(v) && strcmp(json_string_value(v), words[i]) == 0 : i == 0) {
            *out = i;
            return 0;
        }
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(why);

        snprintf(why + len, sizeof why - len, "%s%s",
                 i == 0      ? ""
                 : i + 1 < n ? ", "
                             : " or ",
                 words[i]);
    }
    return bad(err, name, why);
}

static int check_members(const json_t *body, struct err *err)
{
    const char *names[ARRAY_LEN(members)];

    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        names[i] = members[i].name;
    return member_check(body, names, ARRAY_LEN(names), err);
}

/* --- method ---------------------------------------------------------------------------------- */

static int parse_method(const json_t *body, struct plan_ask *a, struct err *err)
{
    size_t m = 0;
    int r;

    r = get_word(body, "method", methods, ARRAY_LEN(methods), &m, err);
    if (r < 0)
        return r;
    a->alphaq = m == ALPHAQ;
    a->opt.method = a->alphaq ? ALLOCATE_UNIFORM : (enum allocate_method)m;
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (json_object_get(body, members[i].name) && !(members[i].methods & ONLY(m))) {
            char why[96];

            snprintf(why, sizeof why, "the method %s does not take it", methods[m]);
            return bad(err, members[i].name, why);
        }
    return 0;
}

static int parse_metric(const json_t *body, struct plan_ask *a, struct err *err)
{
    const json_t *v = json_object_get(body, "metric");
    const char *name = v                                                     ? json_string_value(v)
                       : a->opt.method == ALLOCATE_ALPHAPRUNING || a->alphaq ? "alpha_mid"
                       : a->opt.method == ALLOCATE_OWL                       ? "outlier_ratio"
                       : a->opt.method == ALLOCATE_DLP                       ? "score"
                                                                             : "";

    if (!name || (v && !metric_name_valid(name)))
        return bad(err, "metric", "expected the name of a numeric column");
    snprintf(a->metric, sizeof a->metric, "%s", name);
    return 0;
}

static int parse_options(const json_t *body, struct plan_ask *a, struct err *err)
{
    static const char *const modes[] = {"multiplicative", "additive"};
    static const char *const directions[] = {"prune", "low_rank"};
    static const char *const peaks[] = {"upstream", "linear"};
    struct allocate_options *o = &a->opt;
    size_t mapping = 0, mode = 0, direction = 0, peak = 0;
    int r = get_word(body, "mapping", mappings, ARRAY_LEN(mappings), &mapping, err);

    if (r == 0)
        r = get_word(body, "mode", modes, ARRAY_LEN(modes), &mode, err);
    if (r == 0)
        r = get_word(body, "direction", directions, ARRAY_LEN(directions), &direction, err);
    if (r == 0)
        r = get_word(body, "peak_compat", peaks, ARRAY_LEN(peaks), &peak, err);
    if (r == 0)
        r = get_share(body, "epsilon", EPSILON, &o->epsilon, err);
    if (r == 0)
        r = get_share(body, "inner_epsilon", o->epsilon * INNER, &o->inner_epsilon, err);
    if (r == 0)
        r = get_share(body, "width", o->method == ALLOCATE_OWL ? OWL_WIDTH : DLP_WIDTH, &o->width,
                      err);
    if (r == 0)
        r = get_share(body, "beta", NAN, &o->beta, err);
    if (r == 0 && mapping != ALLOCATE_MIXED && json_object_get(body, "inner_epsilon"))
        r = bad(err, "inner_epsilon", "only the mapping mixed takes it");
    o->mapping = (enum allocate_mapping)mapping;
    o->additive = mode == 1;
    o->low_rank = direction == 1;
    a->peak_linear = peak == 1;
    return r;
}

/* --- limits ---------------------------------------------------------------------------------- */

static int parse_range(const json_t *v, const char *pointer, double *min, double *max,
                       struct err *err)
{
    static const char *const names[] = {"min", "max"};
    double *out[] = {min, max};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const json_t *x = json_object_get(v, names[i]);
        char at[ERR_POINTER_MAX];

        err_pointer(at, pointer, names[i]);
        if (x && (!json_is_number(x) || json_number_value(x) < 0 || json_number_value(x) > 1))
            return err_set_at(err, ERR_INVALID, at, "expected a number from 0 to 1");
        if (x)
            *out[i] = json_number_value(x);
    }
    if (*min > *max)
        return err_set_at(err, ERR_INVALID, pointer, "min is above max");
    return 0;
}

static int check_own_limits(const struct plan_ask *a, struct err *err)
{
    const char *name;
    json_t *v;

    json_object_foreach((json_t *)a->own_limits, name, v)
    {
        double min = a->min, max = a->max;
        char at[ERR_POINTER_MAX];

        err_pointer(at, "/limits/tensors", name);
        if (!json_is_object(v))
            return err_set_at(err, ERR_INVALID, at, "expected an object with min, max or both");
        if (parse_range(v, at, &min, &max, err) < 0)
            return ERR_INVALID;
    }
    return 0;
}

static int parse_limits(const json_t *body, struct plan_ask *a, struct err *err)
{
    const json_t *v = json_object_get(body, "limits");
    const char *name;
    json_t *member;

    a->min = 0;
    a->max = MAX_SPARSITY;
    if (!v)
        return 0;
    if (!json_is_object(v))
        return bad(err, "limits", "expected an object");
    json_object_foreach((json_t *)v, name, member)
    {
        if (strcmp(name, "min") != 0 && strcmp(name, "max") != 0 && strcmp(name, "tensors") != 0)
            return bad(err, "limits", "expected min, max or tensors");
    }
    if (parse_range(v, "/limits", &a->min, &a->max, err) < 0)
        return ERR_INVALID;
    a->own_limits = json_object_get(v, "tensors");
    if (a->own_limits && !json_is_object(a->own_limits))
        return bad(err, "limits/tensors", "expected an object");
    return check_own_limits(a, err);
}

/* A file of statistics, where numbers of tensors might be. */
static bool is_file(const json_t *stats)
{
    return json_is_string(json_object_get(stats, "path")) ||
           json_is_string(json_object_get(stats, "upload"));
}

/* --- where it comes from --------------------------------------------------------------------- */

static int refuse(const json_t *body, const char *name, const char *why, struct err *err)
{
    return json_object_get(body, name) ? bad(err, name, why) : 0;
}

static int parse_analysis(const json_t *v, struct plan_ask *a, struct err *err)
{
    if (!json_is_string(v) || !ident_valid(json_string_value(v), "ana_"))
        return bad(err, "analysis", "expected the id of an analysis");
    snprintf(a->analysis, sizeof a->analysis, "%s", json_string_value(v));
    return 0;
}

static int parse_origin(const json_t *body, struct plan_ask *a, struct err *err)
{
    const json_t *analysis = json_object_get(body, "analysis");

    if (is_file(json_object_get(body, "stats")))
        return bad(err, "stats",
                   "a file of statistics goes with a source: its weights are read, too");
    a->tensors = json_object_get(body, "metrics");
    if (!analysis == !a->tensors)
        return bad(err, "analysis", "expected one of analysis, metrics and source");
    if (a->tensors && plan_ask_weighs(a))
        return err_set_at(err, ERR_INVALID, "/metrics",
                          "%s looks at the weights themselves: name an analysis, or a source",
                          methods[a->opt.method]);
    if (refuse(body, "analyze", "only with a source", err) < 0 ||
        refuse(body, "source", "only without analysis and metrics", err) < 0)
        return ERR_INVALID;
    return analysis ? parse_analysis(analysis, a, err) : 0;
}

/* Of a job: its source is beside the parameters. A plan of weights may be one of an analysis, whose
 * weights the source has. */
static int parse_job_origin(const json_t *body, struct plan_ask *a, struct err *err)
{
    static const char *const others[] = {"metrics", "source", "analysis"};
    bool weighs = plan_ask_weighs(a);
    const json_t *analysis = json_object_get(body, "analysis");

    for (size_t i = 0; i < ARRAY_LEN(others) - weighs; i++)
        if (refuse(body, others[i], "the source of the job says which tensors are meant", err) < 0)
            return ERR_INVALID;
    return weighs && analysis ? parse_analysis(analysis, a, err) : 0;
}

static int parse_stats_file(const json_t *body, struct plan_ask *a, struct err *err)
{
    const json_t *factor = json_object_get(body, "outlier_factor");
    struct source_ref ref;

    a->outlier_factor = factor ? json_number_value(factor) : OUTLIER_FACTOR;
    if (factor && !(json_is_number(factor) && a->outlier_factor >= 1 &&
                    a->outlier_factor <= OUTLIER_FACTOR_MAX))
        return bad(err, "outlier_factor", "expected a number from 1 to 1000");
    if (source_ref_parse(a->stats_file, &ref, err) < 0)
        return bad(err, "stats", "expected {\"path\": …} or {\"upload\": …}");
    source_ref_done(&ref);
    return 0;
}

static int parse_stats(const json_t *body, struct plan_ask *a, struct err *err)
{
    const char *name;
    json_t *v;

    a->stats = json_object_get(body, "stats");
    if (is_file(a->stats)) {
        a->stats_file = a->stats;
        a->stats = NULL;
        return parse_stats_file(body, a, err);
    }
    if (json_object_get(body, "outlier_factor"))
        return bad(err, "outlier_factor", "only with a file of statistics");
    if (a->stats && !json_is_object(a->stats))
        return bad(err, "stats", "expected an object with a number a tensor");
    json_object_foreach((json_t *)a->stats, name, v)
    {
        char at[ERR_POINTER_MAX];

        err_pointer(at, "/stats", name);
        if (!json_is_number(v))
            return err_set_at(err, ERR_INVALID, at, "expected a number");
    }
    if (!a->tensors && !a->stats && ((1u << a->opt.method) & OUTLIERS))
        return err_set_at(err, ERR_UNSUPPORTED, "/stats",
                          "%s needs activation statistics: send the %s of each tensor, or name a "
                          "file of statistics beside a source",
                          methods[a->opt.method], a->metric);
    return 0;
}

static int parse_exclude(const json_t *body, struct plan_ask *a, struct err *err)
{
    a->exclude = json_object_get(body, "exclude");
    if (!a->exclude || json_is_string(a->exclude))
        return 0;
    if (!json_is_array(a->exclude) || json_array_size(a->exclude) > PLAN_EXCLUDE_MAX)
        return bad(err, "exclude",
                   "expected a regular expression, or a list of at most 10000 "
                   "names");
    for (size_t i = 0; i < json_array_size(a->exclude); i++)
        if (!json_is_string(json_array_get(a->exclude, i)))
            return bad(err, "exclude", "expected names");
    return 0;
}

static int parse_structure(const json_t *body, struct plan_ask *a, struct err *err)
{
    const json_t *v = json_object_get(body, "structure");

    if (!v)
        return 0;
    if (a->m || a->opt.low_rank)
        return bad(err, "structure", "it excludes m, and the direction low_rank");
    return plan_width_parse(v, &a->structure, err);
}

static int parse_bits(const json_t *body, struct plan_ask *a, struct err *err)
{
    return a->alphaq ? plan_bits_parse(json_object_get(body, "bits"), &a->bits, err) : 0;
}

static int parse_m(const json_t *body, struct plan_ask *a, struct err *err)
{
    const json_t *v = json_object_get(body, "m");
    uint64_t m;

    if (!v)
        return 0;
    if (a->opt.low_rank)
        return bad(err, "m", "a plan of ranks (direction low_rank) has no N:M patterns");
    if (!member_whole(v, 2, PLAN_N_OF_M_MAX, &m))
        return bad(err, "m", "expected an integer from 2 to 64");
    a->m = (unsigned)m;
    return 0;
}

/* --- the whole ------------------------------------------------------------------------------- */

static void set(json_t *body, const char *name, json_t *value)
{
    (void)json_object_set_new_nocheck(body, name, value);
}

/* Everything that decides the plan, and nothing else. */
static json_t *canonical(const json_t *body, const struct plan_ask *a)
{
    static const char *const copied[] = {"analysis", "metrics", "stats", "exclude"};
    json_t *c = json_object(), *limits = json_object();
    const struct allocate_options *o = &a->opt;

    for (size_t i = 0; i < ARRAY_LEN(copied); i++)
        if (json_object_get(body, copied[i]))
            (void)json_object_set_nocheck(c, copied[i], json_object_get(body, copied[i]));
    if (a->stats_file && o->method == ALLOCATE_OWL)
        set(c, "outlier_factor", json_real(a->outlier_factor));
    set(c, "method", json_string(plan_ask_method(a)));
    if (a->alphaq) {
        set(c, "metric", json_string(a->metric));
        set(c, "bits", plan_bits_json(&a->bits));
        set(c, "peak_compat", json_string(a->peak_linear ? "linear" : "upstream"));
        json_decref(limits);
        return c;
    }
    set(c, "sparsity", json_real(o->sparsity));
    set(limits, "min", json_real(a->min));
    set(limits, "max", json_real(a->max));
    if (a->own_limits)
        (void)json_object_set_nocheck(limits, "tensors", (json_t *)a->own_limits);
    set(c, "limits", limits);
    if (a->m)
        set(c, "m", json_integer((json_int_t)a->m));
    if (a->structure.multiple)
        set(c, "structure", plan_width_json(&a->structure));
    if (*a->metric)
        set(c, "metric", json_string(a->metric));
    if (o->method == ALLOCATE_ATP && !isnan(o->beta))
        set(c, "beta", json_real(o->beta));
    if ((1u << o->method) & OUTLIERS)
        set(c, "width", json_real(o->width));
    if (o->method != ALLOCATE_ALPHAPRUNING)
        return c;
    set(c, "epsilon", json_real(o->epsilon));
    set(c, "mapping", json_string(mappings[o->mapping]));
    if (o->mapping == ALLOCATE_MIXED)
        set(c, "inner_epsilon", json_real(o->inner_epsilon));
    set(c, "mode", json_string(o->additive ? "additive" : "multiplicative"));
    set(c, "direction", json_string(o->low_rank ? "low_rank" : "prune"));
    set(c, "peak_compat", json_string(a->peak_linear ? "linear" : "upstream"));
    return c;
}

/* Pointers into the caller's body become pointers into ours. */
static void keep_body(const json_t *body, struct plan_ask *a)
{
    a->body = canonical(body, a);
    a->tensors = json_object_get(a->body, "metrics");
    a->stats = json_object_get(a->body, "stats");
    a->stats_file = is_file(a->stats) ? a->stats : NULL;
    if (a->stats_file)
        a->stats = NULL;
    a->exclude = json_object_get(a->body, "exclude");
    a->own_limits = json_object_get(json_object_get(a->body, "limits"), "tensors");
}

typedef int part_fn(const json_t *body, struct plan_ask *a, struct err *err);

static int parse(const json_t *body, part_fn *origin, struct plan_ask *out, struct err *err)
{
    part_fn *const parts[] = {parse_method,    parse_metric, parse_options, origin,
                              parse_stats,     parse_limits, parse_exclude, parse_m,
                              parse_structure, parse_bits};
    struct plan_ask a = {.m = 0};
    int r = check_members(body, err);

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(parts); i++)
        r = parts[i](body, &a, err);
    if (r == 0 && !a.alphaq && !json_object_get(body, "sparsity"))
        r = bad(err, "sparsity", "this member is required");
    if (r == 0)
        r = get_share(body, "sparsity", 0, &a.opt.sparsity, err);
    if (r < 0)
        return r;
    keep_body(body, &a);
    *out = a;
    return 0;
}

int plan_ask_parse(const json_t *body, struct plan_ask *out, struct err *err)
{
    return parse(body, parse_origin, out, err);
}

int plan_ask_parse_job(const json_t *params, struct plan_ask *out, struct err *err)
{
    return parse(params, parse_job_origin, out, err);
}

void plan_ask_bind(struct plan_ask *a, const char *analysis)
{
    snprintf(a->analysis, sizeof a->analysis, "%s", analysis);
    set(a->body, "analysis", json_string(analysis));
}

bool plan_ask_needs_spectra(const struct plan_ask *a)
{
    return *a->metric && !a->stats && !a->stats_file && !a->tensors;
}

void plan_ask_give_stats(struct plan_ask *a, json_t *numbers)
{
    set(a->body, "stats", numbers);
    (void)json_object_del(a->body, "outlier_factor");
    a->stats = numbers;
    a->stats_file = NULL;
}

void plan_ask_done(struct plan_ask *a)
{
    json_decref(a->body);
    a->body = NULL;
}

bool plan_ask_weighs(const struct plan_ask *a)
{
    return a->opt.method == ALLOCATE_GLOBAL_MAGNITUDE || a->opt.method == ALLOCATE_LAMP;
}

const char *plan_ask_column(const struct plan_ask *a)
{
    if (a->peak_linear && strcmp(a->metric, "alpha_peak") == 0)
        return "alpha_peak_linear";
    return a->stats || a->stats_file ? "" : a->metric;
}

char *plan_ask_text(const struct plan_ask *a)
{
    return json_dumps(a->body, JSON_COMPACT | JSON_SORT_KEYS);
}
