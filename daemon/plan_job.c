/* plan_job.c: see plan_job.h. */
#include "daemon/plan_job.h"

#include "daemon/locate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void move_pointer(struct err *err, const char *parent, const char *field)
{
    char at[ERR_POINTER_MAX];

    snprintf(at, sizeof at, "%s%.100s", parent, field);
    memcpy(err->pointer, at, sizeof at);
}

int plan_job_fault(struct err *err)
{
    if (strcmp(err->pointer, "/analysis") == 0)
        move_pointer(err, "/source", "");
    else if (*err->pointer)
        move_pointer(err, "/params", err->pointer);
    return err->code;
}

void plan_job_within(struct err *err)
{
    static const char above[] = "/params";
    size_t n = sizeof above - 1;

    if (err->code && strncmp(err->pointer, above, n) == 0 && err->pointer[n] == '/')
        move_pointer(err, "/params/plan", err->pointer + n);
}

/* --- the analysis ---------------------------------------------------------------------------- */

static bool is_of_windows(const struct plan_ask *ask)
{
    return plan_ask_needs_spectra(ask) && strncmp(plan_ask_column(ask), "farms_", 6) == 0;
}

static int parse_analyze(const json_t *sent, const struct plan_ask *ask, struct analyze_params *out,
                         struct err *err)
{
    static const char above[] = "/params";
    json_auto_t *all = NULL;
    int r;

    if (sent && !json_is_null(sent) && !json_is_object(sent))
        return err_set_at(err, ERR_INVALID, "/params/analyze", "expected an object");
    all = json_is_object(sent) ? json_copy((json_t *)(uintptr_t)sent) : json_object();
    if (is_of_windows(ask) && !json_object_get(all, "farms"))
        (void)json_object_set_new(all, "farms", json_object());
    r = analyze_params_parse(all, out, err);
    if (r < 0 && strncmp(err->pointer, above, sizeof above - 1) == 0)
        move_pointer(err, "/params/analyze", err->pointer + sizeof above - 1);
    if (r == 0 && (out->have_base || out->products)) {
        const char *field = out->have_base ? "/params/analyze/base" : "/params/analyze/products";

        analyze_params_done(out);
        return err_set_at(err, ERR_INVALID, field,
                          "a plan is of a model's own weights: leave this out");
    }
    if (r == 0 && is_of_windows(ask) && !out->want_farms) {
        analyze_params_done(out);
        return err_set_at(err, ERR_INVALID, "/params/analyze/farms",
                          "%s is a number of windows: give their parameters, or leave this out",
                          plan_ask_column(ask));
    }
    return r;
}

/* --- the whole ------------------------------------------------------------------------------- */

int plan_job_parse(const json_t *params, struct plan_job *out, struct err *err)
{
    json_auto_t *none = json_object();
    struct plan_job p;
    int r = plan_ask_parse_job(params ? params : none, &p.ask, err);

    if (r < 0) {
        move_pointer(err, "/params", err->pointer);
        return r;
    }
    r = parse_analyze(json_object_get(params, "analyze"), &p.ask, &p.analyze, err);
    if (r < 0)
        plan_ask_done(&p.ask);
    else
        *out = p;
    return r;
}

void plan_job_done(struct plan_job *p)
{
    plan_ask_done(&p->ask);
    analyze_params_done(&p->analyze);
}

static int check_stats(const struct plan_job *p, const struct config *c, struct err *err)
{
    struct source_ref ref;
    int r = 0;

    if (!p->ask.stats_file)
        return 0;
    r = source_ref_parse(p->ask.stats_file, &ref, err);
    if (r < 0)
        return r;
    r = source_ref_check(&ref, c, "/params/stats", err);
    source_ref_done(&ref);
    return r;
}

int plan_job_check(const struct plan_job *p, const struct config *c, struct err *err)
{
    struct layer_regex *re = NULL;
    int r = layer_filter_check(&p->analyze.filter, err);

    if (r < 0) {
        if (strncmp(err->pointer, "/params/", 8) == 0)
            move_pointer(err, "/params/analyze", err->pointer + 7);
        return r;
    }
    if (json_is_string(p->ask.exclude))
        r = layer_regex_new(json_string_value(p->ask.exclude), "/params/exclude", &re, err);
    layer_regex_free(re);
    return r == 0 ? check_stats(p, c, err) : r;
}

char *plan_job_text(const struct plan_job *p)
{
    AUTO(freep) char *analyze = analyze_params_text(&p->analyze);
    json_auto_t *all = json_copy(p->ask.body);
    char *text;

    (void)json_object_set_new(all, "analyze", json_loads(analyze, 0, NULL));
    text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    ASSERT(text != NULL);
    return text;
}
