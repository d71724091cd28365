/* prune_params.c: see prune_params.h. */
#include "daemon/prune_params.h"

#include "daemon/member.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum method {
    M_MAGNITUDE,
    M_WANDA,
    M_WANDA_VARIANT,
    M_RIA,
    M_SPARSEGPT,
    M_TRIM,
    M_EXTERNAL,
    M_EXPERT_DROP,
    M_WIDTH,
    M_DSNOT,
    M_ADMM,
    M_ALPS
};

static const char *const methods[] = {"magnitude", "wanda", "wanda_variant", "ria",
                                      "sparsegpt", "trim",  "external",      "expert_drop",
                                      "width",     "dsnot", "admm",          "alps"};
/* Whole parts instead of single weights. */
#define RESHAPES (1u << M_EXPERT_DROP | 1u << M_WIDTH)
static const char *const selections[] = {"row", "tensor"};
static const char *const roundings[] = {"floor", "exact"};
static const char *const rankings[] = {"wanda", "magnitude"};
static const char *const trim_metrics[] = {"cosim_flat", "cosim_dim", "mse",
                                           "snr",        "psnr_flat", "psnr_dim"};
static const char *const row_metrics[] = {"cosim", "mse", "psnr"};

static const char *const formats[] = {"dense", "masks", "tensors", "sparse-bitmask"};

#define PARENT "/params"

static int wrong(struct err *err, const char *name, const char *why)
{
    char at[ERR_POINTER_MAX];

    snprintf(at, sizeof at, PARENT "/%s", name);
    return err_set_at(err, ERR_INVALID, at, "%s", why);
}

const char *prune_format_name(enum prune_format f)
{
    return formats[f];
}

const char *prune_method_name(const struct prune_task *t)
{
    static const enum method of[] = {[PRUNE_MAGNITUDE] = M_MAGNITUDE,
                                     [PRUNE_WANDA] = M_WANDA,
                                     [PRUNE_WANDA_VARIANT] = M_WANDA_VARIANT,
                                     [PRUNE_RIA] = M_RIA,
                                     [PRUNE_EXTERNAL] = M_EXTERNAL};

    static const enum method updates[UPDATE_COUNT] = {
        [UPDATE_SPARSEGPT] = M_SPARSEGPT, [UPDATE_ADMM] = M_ADMM, [UPDATE_ALPS] = M_ALPS};

    return methods[t->update      ? updates[t->update]
                   : t->use_trim  ? M_TRIM
                   : t->use_dsnot ? M_DSNOT
                                  : of[t->opt.method]];
}

/* --- method and options -------------------------------------------------------------------- */

/* Members that only some methods take. */
static int refuse_others(const json_t *params, enum method m, struct err *err)
{
    static const struct {
        const char *name;
        unsigned methods;
    } only[] = {{"ria_power", 1u << M_RIA},
                {"damping", 1u << M_SPARSEGPT | 1u << M_ALPS},
                {"block_size", 1u << M_SPARSEGPT},
                {"rank_by", 1u << M_TRIM | 1u << M_WIDTH | 1u << M_DSNOT},
                {"keep", RESHAPES},
                {"multiple_of", 1u << M_WIDTH},
                {"n_of_m", ~RESHAPES},
                {"blocks", ~RESHAPES},
                {"trim", 1u << M_TRIM},
                {"selection", 1u << M_MAGNITUDE | 1u << M_WANDA | 1u << M_RIA | 1u << M_EXTERNAL |
                                  1u << M_ADMM | 1u << M_ALPS},
                {"rounding", ~(1u << M_SPARSEGPT | 1u << M_WANDA_VARIANT | RESHAPES)}};
    char why[96];

    for (size_t i = 0; i < ARRAY_LEN(only); i++)
        if (json_object_get(params, only[i].name) && !(only[i].methods & 1u << m)) {
            snprintf(why, sizeof why, "the method %s does not take it", methods[m]);
            return wrong(err, only[i].name, why);
        }
    return 0;
}

static int parse_trim(const json_t *params, struct trim_options *t, struct err *err)
{
    static const char *const names[] = {"metric", "row_metric", "negative_rates"};
    const json_t *o = json_object_get(params, "trim");
    int metric = 0, row = 0, r = 0;
    bool negative = true;

    if (o && !json_is_object(o))
        return wrong(err, "trim", "expected an object");
    if (o)
        r = member_check(o, names, ARRAY_LEN(names), err);
    if (r == 0)
        r = member_word(o, PARENT "/trim", "metric", trim_metrics, ARRAY_LEN(trim_metrics), &metric,
                        err);
    if (r == 0)
        r = member_word(o, PARENT "/trim", "row_metric", row_metrics, ARRAY_LEN(row_metrics), &row,
                        err);
    if (r == 0)
        r = member_flag(o, PARENT "/trim", "negative_rates", &negative, err);
    *t = (struct trim_options){.metric = (enum trim_metric)metric,
                               .row_metric = (enum trim_row_metric)row,
                               .no_negative = !negative};
    return r;
}

/* {"keep": k, "of": m}: nobody needs to remember what N means. */
static int parse_n_of_m(const json_t *params, struct prune_options *o, struct err *err)
{
    static const char *const names[] = {"keep", "of"};
    const json_t *v = json_object_get(params, "n_of_m");
    uint64_t keep = 0, of = 0;
    int r;

    if (!v || json_is_null(v))
        return 0;
    if (!json_is_object(v) || !json_object_get(v, "keep") || !json_object_get(v, "of"))
        return wrong(err, "n_of_m", "expected {\"keep\": k, \"of\": m}");
    r = member_check(v, names, ARRAY_LEN(names), err);
    if (r == 0)
        r = member_count(v, PARENT "/n_of_m", "of", 2, 64, &of, err);
    if (r == 0)
        r = member_count(v, PARENT "/n_of_m", "keep", 0, of, &keep, err);
    o->selection = PRUNE_N_OF_M;
    o->m = (unsigned)of;
    o->pruned = (unsigned)(of - keep);
    return r;
}

static int parse_selection(const json_t *params, enum method m, struct prune_options *o,
                           struct err *err)
{
    /* As the methods' authors have it. */
    int selection =
        m == M_MAGNITUDE || m == M_RIA || m == M_WANDA_VARIANT || m == M_ADMM || m == M_ALPS;
    int rounding = 0, r;

    r = member_word(params, PARENT, "selection", selections, ARRAY_LEN(selections), &selection,
                    err);
    if (r == 0)
        r = member_word(params, PARENT, "rounding", roundings, ARRAY_LEN(roundings), &rounding,
                        err);
    o->selection = selection ? PRUNE_PER_TENSOR : PRUNE_PER_ROW;
    o->exact = rounding == 1;
    if (r == 0)
        r = parse_n_of_m(params, o, err);
    if (r == 0 && o->selection == PRUNE_N_OF_M && json_object_get(params, "selection"))
        r = wrong(err, "selection", "not with n_of_m");
    if (r == 0 && o->selection == PRUNE_N_OF_M && (m == M_TRIM || m == M_WANDA_VARIANT))
        r = wrong(err, "n_of_m", "not with a method that gives rows counts of their own");
    return r;
}

static int parse_scored(const json_t *params, enum method m, struct prune_task *t, struct err *err)
{
    static const enum prune_method scores[] = {[M_MAGNITUDE] = PRUNE_MAGNITUDE,
                                               [M_WANDA] = PRUNE_WANDA,
                                               [M_WANDA_VARIANT] = PRUNE_WANDA_VARIANT,
                                               [M_RIA] = PRUNE_RIA,
                                               [M_SPARSEGPT] = PRUNE_MAGNITUDE,
                                               [M_TRIM] = PRUNE_WANDA,
                                               [M_EXTERNAL] = PRUNE_EXTERNAL,
                                               [M_DSNOT] = PRUNE_WANDA,
                                               [M_ADMM] = PRUNE_MAGNITUDE,
                                               [M_ALPS] = PRUNE_MAGNITUDE};
    uint64_t block = SPARSEGPT_BLOCK;
    int rank = 0, r;

    r = member_word(params, PARENT, "rank_by", rankings, ARRAY_LEN(rankings), &rank, err);
    if (r == 0)
        r = member_real(params, PARENT, "ria_power", 0, 4, &t->ria_power, err);
    if (r == 0)
        r = member_real(params, PARENT, "damping", 0, 10, &t->damping, err);
    if (r == 0)
        r = member_count(params, PARENT, "block_size", 1, PRUNE_BLOCK_MAX, &block, err);
    if (r == 0)
        r = parse_selection(params, m, &t->opt, err);
    if (r == 0)
        r = parse_trim(params, &t->opt.trim, err);
    if (r < 0)
        return r;
    t->update = m == M_SPARSEGPT ? UPDATE_SPARSEGPT
                : m == M_ADMM    ? UPDATE_ADMM
                : m == M_ALPS    ? UPDATE_ALPS
                                 : UPDATE_NONE;
    t->use_trim = m == M_TRIM;
    t->use_dsnot = m == M_DSNOT;
    t->opt.method = rank == 1 ? PRUNE_MAGNITUDE : scores[m];
    t->block = (uint32_t)block;
    if (t->update == UPDATE_SPARSEGPT && t->opt.selection == PRUNE_N_OF_M && block % t->opt.m)
        return wrong(err, "block_size", "expected a multiple of n_of_m.of");
    return 0;
}

static int parse_method(const json_t *params, struct prune_params *p, struct err *err)
{
    int m = -1, r;

    r = member_word(params, PARENT, "method", methods, ARRAY_LEN(methods), &m, err);
    if (r == 0 && m < 0)
        r = wrong(err, "method", "expected the name of a method");
    if (r == 0)
        r = refuse_others(params, (enum method)m, err);
    if (r < 0)
        return r;
    if (m == M_EXPERT_DROP || m == M_WIDTH)
        return reshape_params_parse(params, m == M_WIDTH ? RESHAPE_WIDTH : RESHAPE_EXPERT_DROP,
                                    &p->reshape, err);
    return parse_scored(params, (enum method)m, &p->task, err);
}

/* --- what is pruned, and where to ------------------------------------------------------------ */

static int parse_object(const json_t *plan, struct prune_params *p, struct err *err)
{
    int r = plan_job_parse(plan, &p->job, err);

    plan_job_within(err);
    p->has_job = r == 0;
    return r;
}

static int parse_plan(const json_t *params, struct prune_params *p, struct err *err)
{
    const json_t *plan = json_object_get(params, "plan");
    const json_t *sparsity = json_object_get(params, "sparsity");
    json_auto_t *uniform = NULL;
    int r;

    if (p->reshape.method && !p->reshape.by_plan)
        return 0;
    if (!plan == !sparsity)
        return wrong(err, "plan", "expected either plan or sparsity");
    if (json_is_string(plan)) {
        if (!ident_valid(json_string_value(plan), "pln_"))
            return wrong(err, "plan", "expected the id of a plan, pln_…");
        snprintf(p->plan, sizeof p->plan, "%s", json_string_value(plan));
        return 0;
    }
    if (plan)
        return json_is_object(plan) ? parse_object(plan, p, err)
                                    : wrong(err, "plan", "expected an id or an object");
    uniform = json_object();
    (void)json_object_set_new(uniform, "method", json_string("uniform"));
    (void)json_object_set(uniform, "sparsity", (json_t *)(uintptr_t)sparsity);
    /* All of it may go. */
    (void)json_object_set_new(uniform, "limits", json_pack("{s:i}", "max", 1));
    r = plan_job_parse(uniform, &p->job, err);
    p->has_job = r == 0;
    return r < 0 && strstr(err->pointer, "sparsity")
               ? wrong(err, "sparsity", "expected a number from 0 to 1")
               : r;
}

static int parse_stats(const json_t *params, struct prune_params *p, struct err *err)
{
    const json_t *v = json_object_get(params, "stats");
    bool needed = p->reshape.method ? p->reshape.method == RESHAPE_EXPERT_DROP ||
                                          p->reshape.rank >= RESHAPE_BY_WANDA
                                    : p->task.update || p->task.use_trim || p->task.use_dsnot ||
                                          p->task.opt.method != PRUNE_MAGNITUDE;
    int r;

    if (!v || json_is_null(v))
        return needed ? wrong(err, "stats",
                              "this method needs calibration statistics: "
                              "{\"path\": …} or {\"upload\": …}")
                      : 0;
    r = source_ref_parse(v, &p->stats, err);
    if (r < 0)
        return wrong(err, "stats", "expected {\"path\": …} or {\"upload\": …}");
    p->has_stats = true;
    return 0;
}

static int parse_output(const json_t *params, struct prune_params *p, struct err *err)
{
    static const char *const names[] = {"path", "format"};
    const json_t *o = json_object_get(params, "output"), *path;
    int format = FORMAT_DENSE, r;

    if (!o || json_is_null(o))
        return 0;
    if (!json_is_object(o))
        return wrong(err, "output", "expected an object");
    if (member_check(o, names, ARRAY_LEN(names), err) < 0)
        return wrong(err, "output", "expected {\"path\": …, \"format\": …}");
    r = member_word(o, PARENT "/output", "format", formats, ARRAY_LEN(formats), &format, err);
    p->format = (enum prune_format)format;
    path = json_object_get(o, "path");
    if (r < 0 || (!path && json_object_get(o, "format")))
        return r;
    if (!json_is_string(path) || !*json_string_value(path))
        return wrong(err, "output/path", "expected a path");
    if (strlen(json_string_value(path)) >= SOURCE_PATH_MAX)
        return wrong(err, "output/path", "a path has less than 4096 bytes");
    p->output = xstrdup(json_string_value(path));
    return 0;
}

/* What a default stands for, so that it may change one day. */
static json_t *canonical(const json_t *params, const struct prune_params *p)
{
    const struct prune_options *o = &p->task.opt;
    bool chosen = !p->reshape.method && p->task.update != UPDATE_SPARSEGPT && !p->task.use_trim &&
                  !p->task.use_dsnot && o->selection != PRUNE_N_OF_M &&
                  o->method != PRUNE_WANDA_VARIANT;
    json_t *all = json_deep_copy(params);

    if (p->has_job) {
        AUTO(freep) char *plan = plan_job_text(&p->job);

        (void)json_object_del(all, "sparsity");
        (void)json_object_set_new(all, "plan", json_loads(plan, 0, NULL));
    }
    if (chosen)
        (void)json_object_set_new(all, "selection",
                                  json_string(selections[o->selection == PRUNE_PER_TENSOR]));
    return all;
}

static int parse_all(const json_t *params, struct prune_params *p, struct err *err)
{
    static const char *const names[] = {"plan",      "sparsity", "method",     "selection",
                                        "rounding",  "n_of_m",   "stats",      "output",
                                        "ria_power", "damping",  "block_size", "rank_by",
                                        "trim",      "blocks",   "keep",       "multiple_of"};
    int r;

    if (!json_is_object(params))
        return err_set_at(err, ERR_INVALID, PARENT, "expected an object");
    r = member_check(params, names, ARRAY_LEN(names), err);
    if (r < 0) {
        char at[ERR_POINTER_MAX];

        snprintf(at, sizeof at, PARENT "%.100s", err->pointer);
        memcpy(err->pointer, at, sizeof at);
        return r;
    }
    r = parse_method(params, p, err);
    if (r == 0)
        r = parse_stats(params, p, err);
    if (r == 0)
        r = parse_output(params, p, err);
    if (r == 0 && p->reshape.method && p->format != FORMAT_DENSE)
        r = wrong(err, "output/format", "a method that leaves out parts writes dense files");
    if (r == 0)
        r = prune_blocks_parse(json_object_get(params, "blocks"), &p->blocks, err);
    if (r == 0)
        r = parse_plan(params, p, err);
    if (r < 0 || !p->reshape.by_plan || !p->has_job || p->job.ask.structure.multiple)
        return r;
    plan_job_done(&p->job);
    p->has_job = false;
    return wrong(err, "plan/structure", "expected a plan of widths: {\"kind\": \"width\"}");
}

int prune_params_parse(const json_t *params, struct prune_params *out, struct err *err)
{
    struct prune_params p = {
        .task = {.ria_power = 0.5, .damping = SPARSEGPT_DAMPING, .n_sequences = 1}};
    int r = parse_all(params, &p, err);

    if (r < 0) { /* the plan is parsed last: there is none */
        source_ref_done(&p.stats);
        free(p.output);
        prune_blocks_done(&p.blocks);
        return r;
    }
    p.body = canonical(params, &p);
    *out = p;
    return 0;
}

int prune_params_parse_decode(const json_t *params, struct prune_params *out, struct err *err)
{
    static const char *const names[] = {"output"};
    struct prune_params p = {.decode = true};
    char at[ERR_POINTER_MAX];
    int r = 0;

    if (params && !json_is_null(params) && !json_is_object(params))
        return err_set_at(err, ERR_INVALID, PARENT, "expected an object");
    if (json_is_object(params) && member_check(params, names, ARRAY_LEN(names), err) < 0) {
        snprintf(at, sizeof at, PARENT "%.100s", err->pointer);
        memcpy(err->pointer, at, sizeof at);
        return err->code;
    }
    if (json_is_object(params))
        r = parse_output(params, &p, err);
    if (r == 0 && json_object_get(json_object_get(params, "output"), "format"))
        r = wrong(err, "output/format", "a job of kind decode writes dense files");
    if (r < 0) {
        free(p.output);
        return r;
    }
    p.body = json_is_object(params) ? json_deep_copy(params) : json_object();
    *out = p;
    return 0;
}

int prune_params_parse_smooth(const json_t *params, struct prune_params *out,
                              struct analyze_params *layers, struct err *err)
{
    struct prune_params p = {.output = NULL};
    int r = smooth_params_parse(params, &p.smooth, layers, err);

    if (r < 0)
        return r;
    r = parse_output(params, &p, err);
    if (r == 0 && json_object_get(json_object_get(params, "output"), "format"))
        r = wrong(err, "output/format", "a job of kind smooth writes dense files");
    if (r < 0) {
        free(p.output);
        analyze_params_done(layers);
        return r;
    }
    p.body = json_deep_copy(params);
    if (p.smooth.opt.method == SMOOTH_SVD && p.smooth.opt.k == 0)
        (void)json_object_set_new(p.body, "percent", json_real(p.smooth.opt.percent));
    *out = p;
    return 0;
}

void prune_params_done(struct prune_params *p)
{
    if (p->has_job)
        plan_job_done(&p->job);
    source_ref_done(&p->stats);
    free(p->output);
    prune_blocks_done(&p->blocks);
    json_decref(p->body);
}

char *prune_params_text(const struct prune_params *p)
{
    char *text = json_dumps(p->body, JSON_COMPACT | JSON_SORT_KEYS);

    ASSERT(text != NULL);
    return text;
}

/* --- the output ------------------------------------------------------------------------------ */

static int output_error(struct err *err, int code, const char *why)
{
    return err_set_at(err, code, PARENT "/output/path", "%s", why);
}

int prune_output_path(const struct prune_params *p, const struct config *c, char **out,
                      struct err *err)
{
    AUTO(freep) char *full = NULL;
    char parent[PATH_MAX], root[PATH_MAX];
    char *slash;
    size_t n;

    *out = NULL;
    if (!p->output)
        return 0;
    if (!c->output_root)
        return output_error(err, ERR_FORBIDDEN,
                            "this server has no output root; start it with --output-root DIR, or "
                            "leave output out and download the artifact");
    full = *p->output == '/' ? xstrdup(p->output) : xasprintf("%s/%s", c->output_root, p->output);
    for (n = strlen(full); n > 1 && full[n - 1] == '/'; n--)
        full[n - 1] = '\0';
    slash = strrchr(full, '/');
    *slash = '\0';
    if (strcmp(slash + 1, ".") == 0 || strcmp(slash + 1, "..") == 0 || slash[1] == '\0')
        return output_error(err, ERR_INVALID, "expected a path that ends in a name");
    if (strlen(slash + 1) > 100 || slash[1] == '.')
        return output_error(err, ERR_INVALID,
                            "a name has at most 100 bytes and does not begin with a dot");
    if (!realpath(c->output_root, root) || !realpath(*full ? full : "/", parent))
        return output_error(err, ERR_NOT_FOUND, "its directory does not exist");
    n = strlen(root);
    if (strncmp(parent, root, n) != 0 || (parent[n] != '/' && parent[n] != '\0'))
        return output_error(err, ERR_FORBIDDEN, "the path lies outside the output root");
    *out = xasprintf("%s/%s", parent, slash + 1);
    return 0;
}

int prune_params_check(const struct prune_params *p, const struct config *c, struct err *err)
{
    AUTO(freep) char *path = NULL;
    struct stat st;
    int r = prune_output_path(p, c, &path, err);

    if (r == 0 && path && lstat(path, &st) == 0)
        r = output_error(err, ERR_CONFLICT, "there is something of that name already");
    if (r == 0 && p->has_stats)
        r = source_ref_check(&p->stats, c, PARENT "/stats", err);
    if (r == 0 && p->has_job) {
        r = plan_job_check(&p->job, c, err);
        plan_job_within(err);
    }
    return r;
}
