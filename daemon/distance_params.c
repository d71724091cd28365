/* distance_params.c: see distance_params.h. */
#include "daemon/distance_params.h"

#include "daemon/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARENT "/params"

/* As analyze jobs have them. */
static const char *const shared[] = {"base", "layers", "types", "include", "exclude"};

void distance_params_done(struct distance_params *p)
{
    json_decref(p->body);
}

static int check_names(const json_t *params, struct err *err)
{
    static const char *const names[] = {"base", "cka", "layers", "types", "include", "exclude"};
    char at[ERR_POINTER_MAX];

    if (member_check(params, names, ARRAY_LEN(names), err) == 0)
        return 0;
    snprintf(at, sizeof at, PARENT "%.100s", err->pointer);
    memcpy(err->pointer, at, sizeof at);
    return err->code;
}

static int parse_layers(const json_t *params, struct analyze_params *layers, struct err *err)
{
    json_auto_t *some = json_object();
    int r;

    for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
        json_t *v = json_object_get(params, shared[i]);

        if (v)
            (void)json_object_set(some, shared[i], v);
    }
    r = analyze_params_parse(some, layers, err);
    if (r == 0) { /* no spectrum is computed */
        layers->filter.min_evals = 0;
        layers->filter.n_limit = UINT64_MAX;
    }
    return r;
}

static json_t *body_of(const json_t *params, bool cka)
{
    json_t *body = json_object();

    (void)json_object_set_new(body, "cka", json_boolean(cka));
    for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
        json_t *v = json_object_get(params, shared[i]);

        (void)json_object_set_new(body, shared[i], v ? json_incref(v) : json_null());
    }
    return body;
}

int distance_params_parse(const json_t *params, struct distance_params *out,
                          struct analyze_params *layers, struct err *err)
{
    struct distance_params p = {.cka = true};
    int r;

    if (!json_is_object(json_object_get(params, "base")))
        return err_set_at(err, ERR_INVALID, PARENT "/base",
                          "base is required: the model to compare with, {\"path\": …} or "
                          "{\"upload\": …}");
    r = check_names(params, err);
    if (r == 0)
        r = member_flag(params, PARENT, "cka", &p.cka, err);
    if (r == 0)
        r = parse_layers(params, layers, err);
    if (r < 0)
        return r;
    p.body = body_of(params, p.cka);
    *out = p;
    return 0;
}

char *distance_params_text(const struct distance_params *p)
{
    char *text = json_dumps(p->body, JSON_COMPACT | JSON_SORT_KEYS);

    ASSERT(text != NULL);
    return text;
}
