/* schedule_ask.c: see schedule_ask.h. */
#include "api/schedule_ask.h"

#include "api/measured.h"
#include "daemon/member.h"

#include <math.h>
#include <string.h>

#define FACTOR_MAX 1e6
#define RATE_MAX   1e6
#define STEP_MAX   1000000000000000

const char *const schedule_members[SCHEDULE_MEMBERS] = {
    "method",  "base_lr",      "base_weight_decay", "unit",   "tune",   "assign", "limits",
    "exclude", "norm_binding", "outside",           "compat", "window", "step",   "freeze_from"};

static const char *const unit_names[] = {"matrix", "block", "layer", "sliding_window"};
static const char *const tune_names[] = {"lr", "weight_decay", "both"};
static const char *const binding_names[] = {"none", "name", "order", "block"};
static const char *const outside_names[] = {"base", "max"};
static const char *const compat_names[] = {"safe", "reference"};

const char *schedule_unit_name(enum schedule_unit u)
{
    return unit_names[u];
}

const char *schedule_tune_name(enum schedule_tune t)
{
    return tune_names[t];
}

const char *schedule_binding_name(enum schedule_binding b)
{
    return binding_names[b];
}

/* What the papers' code does unless told otherwise. */
static const struct method {
    const char *name;
    enum schedule_map map;
    enum schedule_unit unit;
    enum schedule_tune tune;
    double s1, s2;
    bool ends;        /* the first and the last matrix are left out */
    bool outside_max; /* embeddings and heads get the largest factor */
} methods[] = {
    {"tempbalance", SCHEDULE_LINEAR, SCHEDULE_MATRIX, TUNE_LR, 0.5, 1.5, true, false},
    {"modelbalancing", SCHEDULE_SIGMOID, SCHEDULE_BLOCK, TUNE_LR, 0.5, 1.5, false, false},
    {"llr", SCHEDULE_LINEAR, SCHEDULE_MATRIX, TUNE_LR, 1, 5, false, true},
    {"alphadecay", SCHEDULE_LINEAR, SCHEDULE_MATRIX, TUNE_WEIGHT_DECAY, 0.67, 3, false, false},
};

static int read_method(const json_t *body, const struct method **out, struct err *err)
{
    const char *names[ARRAY_LEN(methods)];
    int which = 0;

    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        names[i] = methods[i].name;
    if (member_word(body, "", "method", names, ARRAY_LEN(names), &which, err) < 0)
        return ERR_INVALID;
    *out = &methods[which];
    return 0;
}

static int read_assign(const json_t *body, struct schedule_rule *rule, struct err *err)
{
    static const char *const members[] = {"fn",          "s1",  "s2",       "sigmoid_min",
                                          "sigmoid_max", "tau", "normalize"};
    const char *maps[SCHEDULE_MAP_COUNT];
    const json_t *a;
    int map = (int)rule->map;
    int r = member_object(body, "assign", members, ARRAY_LEN(members), &a, err);

    for (int i = 0; i < SCHEDULE_MAP_COUNT; i++)
        maps[i] = schedule_map_name((enum schedule_map)i);
    if (r == 0)
        r = member_word(a, "/assign", "fn", maps, ARRAY_LEN(maps), &map, err);
    if (r == 0)
        r = member_real(a, "/assign", "s1", 0, FACTOR_MAX, &rule->s1, err);
    if (r == 0)
        r = member_real(a, "/assign", "s2", 0, FACTOR_MAX, &rule->s2, err);
    if (r == 0)
        r = member_real(a, "/assign", "sigmoid_min", 0, 12, &rule->down, err);
    if (r == 0)
        r = member_real(a, "/assign", "sigmoid_max", 0, 12, &rule->up, err);
    if (r == 0)
        r = member_real(a, "/assign", "tau", 0, FACTOR_MAX, &rule->tau, err);
    if (r == 0)
        r = member_flag(a, "/assign", "normalize", &rule->normalize, err);
    rule->map = (enum schedule_map)map;
    if (r == 0 && map == SCHEDULE_ZSCORE && rule->unit != SCHEDULE_MATRIX)
        r = err_set_at(err, ERR_INVALID, "/assign/fn", "zscore looks into blocks: unit matrix");
    if (isnan(rule->tau))
        rule->tau = map == SCHEDULE_ZSCORE ? 4 : 10;
    return r;
}

/* Which block a sliding window is at, and what it is multiplied by. */
static int read_window(const json_t *body, struct schedule_rule *rule, struct err *err)
{
    static const char *const members[] = {"index", "scale"};
    bool slides = rule->unit == SCHEDULE_WINDOW;
    uint64_t index = UINT64_MAX;
    const json_t *w;
    int r = member_object(body, "window", members, ARRAY_LEN(members), &w, err);

    rule->window_scale = NAN;
    if (r == 0 && !slides && w)
        r = err_set_at(err, ERR_INVALID, "/window", "only with unit sliding_window");
    if (r == 0)
        r = member_count(w, "/window", "index", 0, MEASURED_MAX, &index, err);
    if (r == 0)
        r = member_real(w, "/window", "scale", 0, FACTOR_MAX, &rule->window_scale, err);
    if (r == 0 && slides && (index == UINT64_MAX || isnan(rule->window_scale)))
        r = err_set_at(err, ERR_INVALID, "/window",
                       "unit sliding_window needs the index of a block and a scale");
    rule->window = (uint32_t)index;
    return r;
}

static int read_limits(const json_t *body, struct schedule_rule *rule, struct err *err)
{
    static const char *const members[] = {"min", "max"};
    const json_t *l;
    int r = member_object(body, "limits", members, ARRAY_LEN(members), &l, err);

    if (r == 0)
        r = member_real(l, "/limits", "min", 0, FACTOR_MAX, &rule->min, err);
    if (r == 0)
        r = member_real(l, "/limits", "max", 0, FACTOR_MAX, &rule->max, err);
    if (r == 0 && rule->min > rule->max)
        r = err_set_at(err, ERR_INVALID, "/limits", "min is above max");
    return r;
}

static int read_names(const json_t *exclude, const json_t **out, struct err *err)
{
    const json_t *names = json_object_get(exclude, "names"), *name;
    size_t i;

    if (!names)
        return 0;
    if (!json_is_array(names) || json_array_size(names) > SCHEDULE_NAMES_MAX)
        return err_set_at(err, ERR_INVALID, "/exclude/names", "expected at most %d names",
                          SCHEDULE_NAMES_MAX);
    json_array_foreach(names, i, name)
    {
        if (!json_is_string(name) || json_string_length(name) == 0)
            return err_set_at(err, ERR_INVALID, "/exclude/names", "expected names of layers");
    }
    *out = names;
    return 0;
}

static int read_exclude(const json_t *body, struct schedule_ask *q, struct err *err)
{
    static const char *const members[] = {"first",      "last",  "min_eigs",
                                          "embeddings", "heads", "names"};
    const json_t *x;
    uint64_t min_eigs = 50;
    int r = member_object(body, "exclude", members, ARRAY_LEN(members), &x, err);

    if (r == 0)
        r = member_flag(x, "/exclude", "first", &q->exclude.first, err);
    if (r == 0)
        r = member_flag(x, "/exclude", "last", &q->exclude.last, err);
    if (r == 0)
        r = member_count(x, "/exclude", "min_eigs", 0, 1000000000, &min_eigs, err);
    q->skip_embeddings = true;
    q->skip_heads = !q->exclude.last; /* where the last matrix is left out, it is the head */
    if (r == 0)
        r = member_flag(x, "/exclude", "embeddings", &q->skip_embeddings, err);
    if (r == 0)
        r = member_flag(x, "/exclude", "heads", &q->skip_heads, err);
    if (r == 0)
        r = read_names(x, &q->names, err);
    q->exclude.min_eigs = (double)min_eigs;
    return r;
}

static int read_words(const json_t *body, const struct method *m, struct schedule_ask *q,
                      struct err *err)
{
    int unit = (int)m->unit, tune = (int)m->tune, binding = -1, outside = m->outside_max;
    int compat = 0;
    int r = member_word(body, "", "unit", unit_names, ARRAY_LEN(unit_names), &unit, err);

    if (r == 0)
        r = member_word(body, "", "tune", tune_names, ARRAY_LEN(tune_names), &tune, err);
    if (r == 0)
        r = member_word(body, "", "norm_binding", binding_names, ARRAY_LEN(binding_names), &binding,
                        err);
    if (r == 0)
        r = member_word(body, "", "outside", outside_names, ARRAY_LEN(outside_names), &outside,
                        err);
    if (r == 0)
        r = member_word(body, "", "compat", compat_names, ARRAY_LEN(compat_names), &compat, err);
    q->rule.unit = (enum schedule_unit)unit;
    q->tune = (enum schedule_tune)tune;
    q->binding = binding >= 0              ? (enum schedule_binding)binding
                 : unit != SCHEDULE_MATRIX ? BIND_BLOCK
                                           : BIND_NAME;
    q->outside_max = outside != 0;
    q->rule.reference = compat != 0;
    return r;
}

int schedule_ask_read(const json_t *body, struct schedule_ask *out, struct err *err)
{
    struct schedule_ask q = {.base_lr = NAN, .base_wd = NAN, .step = UINT64_MAX};
    bool sent = json_object_get(body, "metrics") || json_object_get(body, "layers");
    const struct method *m;
    int r = read_method(body, &m, err);

    if (r < 0)
        return r;
    q.method = m->name;
    q.rule = (struct schedule_rule){
        .map = m->map, .s1 = m->s1, .s2 = m->s2, .down = 2, .up = 1, .tau = NAN, .max = INFINITY};
    /* The rows of an analysis are not in the order of modules: first and last mean little there. */
    q.exclude.first = q.exclude.last = m->ends && sent;
    r = member_real(body, "", "base_lr", 0, RATE_MAX, &q.base_lr, err);
    if (r == 0)
        r = member_real(body, "", "base_weight_decay", 0, RATE_MAX, &q.base_wd, err);
    if (r == 0)
        r = member_count(body, "", "step", 0, STEP_MAX, &q.step, err);
    if (r == 0)
        r = read_words(body, m, &q, err);
    if (r == 0)
        r = read_window(body, &q.rule, err);
    if (r == 0)
        r = read_assign(body, &q.rule, err);
    if (r == 0)
        r = read_limits(body, &q.rule, err);
    if (r == 0)
        r = read_exclude(body, &q, err);
    if (r == 0)
        *out = q;
    return r;
}
