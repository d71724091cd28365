/* simpson_ask.c: see simpson_ask.h. */
#include "api/simpson_ask.h"

#include "compute/simpson.h"
#include "daemon/member.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const directions[] = {"lower", "higher", "unknown"};
static const int direction_of[] = {-1, 1, 0};

/* --- the small members ----------------------------------------------------------------------- */

static int check_rows(const json_t *body, struct err *err)
{
    const json_t *rows = json_object_get(body, "rows");

    if (!json_is_array(rows) || json_array_size(rows) == 0)
        return err_set_at(err, ERR_INVALID, "/rows", "required: an array of at least one model");
    if (json_array_size(rows) > SIMPSON_ROWS_MAX)
        return err_set_at(err, ERR_LIMIT, "/rows", "%zu rows, more than %d", json_array_size(rows),
                          SIMPSON_ROWS_MAX);
    return 0;
}

static int check_expected(const json_t *body, struct err *err)
{
    const json_t *expected = json_object_get(body, "expected"), *value;
    const char *name;
    int r = 0, word;

    if (!expected)
        return 0;
    if (!json_is_object(expected) || json_object_size(expected) > SIMPSON_METRICS_MAX)
        return err_set_at(err, ERR_INVALID, "/expected",
                          "expected an object with up to %d metrics, each lower, higher or unknown",
                          SIMPSON_METRICS_MAX);
    json_object_foreach((json_t *)expected, name, value)
    {
        if (r == 0)
            r = member_word(expected, "/expected", name, directions, ARRAY_LEN(directions), &word,
                            err);
    }
    return r;
}

/* A member that is null would pass for one that is missing. */
static int check_null(const json_t *body, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)body, name, value)
    {
        if (json_is_null(value)) {
            err_pointer(pointer, "", name);
            return err_set_at(err, ERR_INVALID, pointer, "null is no value: leave it out");
        }
    }
    return 0;
}

int simpson_ask_read(const json_t *body, struct simpson_ask *out, struct err *err)
{
    static const char *const members[] = {"rows",       "better", "expected",
                                          "replicates", "seed",   "contest"};
    struct simpson_ask q = {.quality = 1, .replicates = SIMPSON_REPLICATES};
    int better = 1;
    int r = member_check(body, members, ARRAY_LEN(members), err);

    if (r == 0)
        r = check_null(body, err);
    if (r == 0)
        r = check_rows(body, err);
    if (r == 0)
        r = member_word(body, "", "better", directions, 2, &better, err);
    if (r == 0)
        r = check_expected(body, err);
    if (r == 0)
        r = member_count(body, "", "replicates", 0, SIMPSON_REPLICATES_MAX, &q.replicates, err);
    if (r == 0)
        r = member_count(body, "", "seed", 0, (1ull << 53) - 1, &q.seed, err);
    if (r == 0)
        r = member_flag(body, "", "contest", &q.contest, err);
    q.quality = direction_of[better];
    q.replicates_given = json_object_get(body, "replicates") != NULL;
    if (r == 0)
        *out = q;
    return r;
}

/* --- names and their numbers ----------------------------------------------------------------- */

struct numbering {
    json_t *known; /* name: number */
    const char **name;
    size_t n, max;
};

/* The number of a name, given in order of arrival; false when there are too many. */
static bool number_of(struct numbering *k, const char *name, size_t *out)
{
    const json_t *known = json_object_get(k->known, name);

    if (!known && k->n == k->max)
        return false;
    *out = known ? (size_t)json_integer_value(known) : k->n;
    if (!known) {
        (void)json_object_set_new_nocheck(k->known, name, json_integer((json_int_t)k->n));
        if (k->name)
            k->name[k->n] = name;
        k->n++;
    }
    return true;
}

/* --- rows ------------------------------------------------------------------------------------ */

struct reading {
    struct simpson_table *t;
    struct numbering groups, metrics, hypers, values[SIMPSON_HYPERS_MAX];
    char at[ERR_POINTER_MAX]; /* of the row */
    size_t row;
    struct err *err;
};

static int refuse(const struct reading *k, const char *member, int code, const char *text)
{
    char pointer[ERR_POINTER_MAX];

    err_pointer(pointer, k->at, member);
    return err_set_at(k->err, code, pointer, "%s", text);
}

static bool is_name(const char *s)
{
    return s && *s && strlen(s) <= SIMPSON_NAME_BYTES;
}

static bool is_value(const json_t *v)
{
    return json_is_number(v) && fabs(json_number_value(v)) <= SIMPSON_VALUE_MAX;
}

static int read_group(struct reading *k, const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "group"));

    if (!is_name(name))
        return refuse(k, "group", ERR_INVALID, "required: a text of 1 to 128 bytes");
    if (!number_of(&k->groups, name, &k->t->group[k->row]))
        return refuse(k, "group", ERR_LIMIT, "more than 1000 groups");
    return 0;
}

static int read_quality(struct reading *k, const json_t *row)
{
    const json_t *quality = json_object_get(row, "quality"), *gap = json_object_get(row, "gap");

    if (!is_value(quality))
        return refuse(k, "quality", ERR_INVALID, "required: a number within 1e100 of 0");
    k->t->quality[k->row] = json_number_value(quality);
    if (gap && !is_value(gap))
        return refuse(k, "gap", ERR_INVALID, "expected a number within 1e100 of 0");
    if (k->row == 0 && gap)
        k->t->gap = xcalloc(k->t->n, sizeof *k->t->gap);
    if ((gap != NULL) != (k->t->gap != NULL))
        return refuse(k, "gap", ERR_INVALID, "either every row has a gap, or none has");
    if (gap)
        k->t->gap[k->row] = json_number_value(gap);
    return 0;
}

/* Metrics are numbered before there is room for them: see read_metrics(). */
static int count_metrics(struct reading *k, const json_t *row)
{
    const json_t *metrics = json_object_get(row, "metrics"), *value;
    const char *name;
    size_t number;

    if (!json_is_object(metrics))
        return refuse(k, "metrics", ERR_INVALID, "required: an object of numbers");
    json_object_foreach((json_t *)metrics, name, value)
    {
        if (!is_name(name) || (!is_value(value) && !json_is_null(value)))
            return refuse(k, "metrics", ERR_INVALID,
                          "expected names of 1 to 128 bytes, each with a number within 1e100 of 0 "
                          "or null");
        if (!number_of(&k->metrics, name, &number))
            return refuse(k, "metrics", ERR_LIMIT, "more than 16 metrics");
    }
    return 0;
}

static void value_text(const json_t *v, char out[SIMPSON_NAME_BYTES + 8])
{
    if (json_is_string(v))
        snprintf(out, SIMPSON_NAME_BYTES + 8, "s%s", json_string_value(v));
    else
        snprintf(out, SIMPSON_NAME_BYTES + 8, "n%.17g", json_number_value(v));
}

/* The first row says which there are. */
static int read_hypers(struct reading *k, const json_t *row)
{
    const json_t *hypers = json_object_get(row, "hyperparameters"), *value;
    char text[SIMPSON_NAME_BYTES + 8];
    const char *name;
    size_t number;

    if (hypers && !json_is_object(hypers))
        return refuse(k, "hyperparameters", ERR_INVALID, "expected an object");
    json_object_foreach((json_t *)hypers, name, value)
    {
        if (!is_name(name) || !(json_is_number(value) || is_name(json_string_value(value))))
            return refuse(k, "hyperparameters", ERR_INVALID,
                          "expected names and texts of 1 to 128 bytes, or numbers");
        if (k->row > 0 && !json_object_get(k->hypers.known, name))
            return refuse(k, "hyperparameters", ERR_INVALID, "the first row has other names");
        if (!number_of(&k->hypers, name, &number))
            return refuse(k, "hyperparameters", ERR_LIMIT, "more than 8 hyperparameters");
        value_text(value, text);
        (void)number_of(&k->values[number], text,
                        &k->t->hyper[k->row * SIMPSON_HYPERS_MAX + number]);
    }
    if (json_object_size(hypers) != k->hypers.n)
        return refuse(k, "hyperparameters", ERR_INVALID, "the first row has more of them");
    return 0;
}

static int read_row(struct reading *k, const json_t *row)
{
    static const char *const members[] = {"group", "quality", "gap", "metrics", "hyperparameters"};
    const char *name;
    json_t *value;

    if (!json_is_object(row))
        return err_set_at(k->err, ERR_INVALID, k->at, "expected an object");
    json_object_foreach((json_t *)row, name, value)
    {
        bool known = false;

        for (size_t i = 0; i < ARRAY_LEN(members); i++)
            known = known || strcmp(name, members[i]) == 0;
        if (!known)
            return refuse(k, name, ERR_INVALID, "unknown member");
    }
    int r = read_group(k, row);

    if (r == 0)
        r = read_quality(k, row);
    if (r == 0)
        r = count_metrics(k, row);
    return r < 0 ? r : read_hypers(k, row);
}

static int read_metrics(struct reading *k, const json_t *body)
{
    struct simpson_table *t = k->t;
    const json_t *expected = json_object_get(body, "expected");

    if (k->metrics.n == 0)
        return err_set_at(k->err, ERR_INVALID, "/rows", "no row has a metric");
    if (t->n * k->metrics.n > SIMPSON_CELLS_MAX)
        return err_set_at(k->err, ERR_LIMIT, "/rows", "%zu rows of %zu metrics are more than %d",
                          t->n, k->metrics.n, SIMPSON_CELLS_MAX);
    t->n_metrics = k->metrics.n;
    t->metric = xcalloc(t->n * t->n_metrics, sizeof *t->metric);
    t->direction = xcalloc(t->n_metrics, sizeof *t->direction);
    for (size_t i = 0; i < t->n * t->n_metrics; i++) {
        const json_t *row = json_array_get(json_object_get(body, "rows"), i / t->n_metrics);
        const json_t *v =
            json_object_get(json_object_get(row, "metrics"), t->metric_name[i % t->n_metrics]);

        t->metric[i] = json_is_number(v) ? json_number_value(v) : NAN;
    }
    for (size_t m = 0; m < t->n_metrics; m++) {
        int word = -1;

        (void)member_word(expected, "", t->metric_name[m], directions, ARRAY_LEN(directions), &word,
                          NULL);
        t->direction[m] = word >= 0 ? direction_of[word] : simpson_direction(t->metric_name[m]);
    }
    return 0;
}

static int check_named(const struct reading *k, const json_t *body)
{
    const json_t *expected = json_object_get(body, "expected"), *value;
    char pointer[ERR_POINTER_MAX];
    const char *name;

    json_object_foreach((json_t *)expected, name, value)
    {
        if (!json_object_get(k->metrics.known, name)) {
            err_pointer(pointer, "/expected", name);
            return err_set_at(k->err, ERR_INVALID, pointer, "no row has this metric");
        }
    }
    return 0;
}

static void numbering_start(struct numbering *k, const char **name, size_t max)
{
    *k = (struct numbering){json_object(), name, 0, max};
}

static void reading_start(struct reading *k)
{
    struct simpson_table *t = k->t;

    t->group_name = xcalloc(SIMPSON_GROUPS_MAX, sizeof *t->group_name);
    t->metric_name = xcalloc(SIMPSON_METRICS_MAX, sizeof *t->metric_name);
    t->group = xcalloc(t->n, sizeof *t->group);
    t->quality = xcalloc(t->n, sizeof *t->quality);
    t->hyper = xcalloc(t->n * SIMPSON_HYPERS_MAX, sizeof *t->hyper);
    numbering_start(&k->groups, t->group_name, SIMPSON_GROUPS_MAX);
    numbering_start(&k->metrics, t->metric_name, SIMPSON_METRICS_MAX);
    numbering_start(&k->hypers, t->hyper_name, SIMPSON_HYPERS_MAX);
    for (size_t h = 0; h < SIMPSON_HYPERS_MAX; h++)
        numbering_start(&k->values[h], NULL, SIMPSON_ROWS_MAX);
}

static void reading_end(struct reading *k)
{
    json_decref(k->groups.known);
    json_decref(k->metrics.known);
    json_decref(k->hypers.known);
    for (size_t h = 0; h < SIMPSON_HYPERS_MAX; h++)
        json_decref(k->values[h].known);
}

int simpson_table_read(const json_t *body, struct simpson_table *out, struct err *err)
{
    const json_t *rows = json_object_get(body, "rows"), *row;
    struct reading k = {.t = out, .err = err};
    int r = 0;

    *out = (struct simpson_table){.n = json_array_size(rows)};
    reading_start(&k);
    json_array_foreach(rows, k.row, row)
    {
        snprintf(k.at, sizeof k.at, "/rows/%zu", k.row);
        r = read_row(&k, row);
        if (r < 0)
            break;
    }
    if (r == 0)
        r = check_named(&k, body);
    if (r == 0)
        r = read_metrics(&k, body);
    out->n_groups = k.groups.n;
    out->n_hypers = k.hypers.n;
    reading_end(&k);
    return r;
}

void simpson_table_done(struct simpson_table *t)
{
    free(t->group_name);
    free(t->metric_name);
    free(t->direction);
    free(t->group);
    free(t->quality);
    free(t->gap);
    free(t->metric);
    free(t->hyper);
}

int simpson_table_replicates(const struct simpson_table *t, const struct simpson_ask *q,
                             uint64_t *out, struct err *err)
{
    uint64_t most = SIMPSON_ORDERS_MAX / (t->n * t->n_metrics);

    if (q->replicates_given && q->replicates > most)
        return err_set_at(err, ERR_LIMIT, "/replicates",
                          "%zu rows of %zu metrics leave room for at most %llu", t->n, t->n_metrics,
                          (unsigned long long)most);
    *out = q->replicates < most ? q->replicates : most;
    return 0;
}
