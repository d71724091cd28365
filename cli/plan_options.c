/* plan_options.c: see plan_options.h. */
#include "cli/plan_options.h"

#include "cli/body.h"

#include <string.h>

static bool put_limits(json_t *body, const struct plan_options *o)
{
    json_t *limits = json_object();
    bool ok =
        body_number(limits, "min", "min", o->low) && body_number(limits, "max", "max", o->high);

    if (ok && json_object_size(limits) > 0)
        (void)json_object_set(body, "limits", limits);
    json_decref(limits);
    return ok;
}

bool plan_options_put(json_t *body, const struct plan_options *o)
{
    body_text(body, "method", o->method);
    body_text(body, "metric", o->metric);
    body_text(body, "mapping", o->mapping);
    body_text(body, "exclude", o->exclude);
    body_count(body, "m", &o->m);
    return body_number(body, "epsilon", "epsilon", o->epsilon) &&
           body_number(body, "spread", "width", o->spread) &&
           body_number(body, "outlier-factor", "outlier_factor", o->outlier_factor) &&
           put_limits(body, o);
}

bool plan_options_measure(const struct plan_options *o)
{
    return o->method && (strcmp(o->method, "owl") == 0 || strcmp(o->method, "dlp") == 0);
}

bool plan_options_given(const struct plan_options *o)
{
    return o->metric || o->epsilon || o->mapping || o->spread || o->outlier_factor || o->low ||
           o->high || o->exclude || o->m.given;
}
