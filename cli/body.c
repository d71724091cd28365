/* body.c: see body.h. */
#include "cli/body.h"

#include "cli/commands.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void body_text(json_t *body, const char *key, const char *text)
{
    if (text)
        (void)json_object_set_new(body, key, json_string(text));
}

void body_count(json_t *body, const char *key, const struct arg_count *n)
{
    if (n->given)
        (void)json_object_set_new(body, key, json_integer(n->value));
}

void body_list(json_t *body, const char *key, const struct arg_list *list)
{
    json_t *values = json_array();

    for (size_t i = 0; i < list->count; i++)
        (void)json_array_append_new(values, json_string(list->value[i]));
    if (list->count)
        (void)json_object_set(body, key, values);
    json_decref(values);
}

void body_layers(json_t *body, const char *key, const struct arg_list *list)
{
    json_t *values = json_array();

    for (size_t i = 0; i < list->count; i++) {
        const char *v = list->value[i];
        bool id = *v && strlen(v) < 16 && strspn(v, "0123456789") == strlen(v);

        (void)json_array_append_new(values, id ? json_integer(atoll(v)) : json_string(v));
    }
    if (list->count)
        (void)json_object_set(body, key, values);
    json_decref(values);
}

bool body_number(json_t *body, const char *option, const char *key, const char *text)
{
    char *end;
    double x;

    if (!text)
        return true;
    x = strtod(text, &end);
    if (*end || end == text || !isfinite(x)) {
        (void)command_misused("--%s: expected a number, not \"%s\"", option, text);
        return false;
    }
    (void)json_object_set_new(body, key, json_real(x));
    return true;
}

bool body_labels(json_t *body, const struct arg_list *labels)
{
    json_t *o = json_object();

    (void)json_object_set_new(body, "labels", o);
    for (size_t i = 0; i < labels->count; i++) {
        const char *label = labels->value[i], *eq = strchr(label, '=');

        if (!eq || eq == label) {
            (void)command_misused("--label wants KEY=VALUE, not \"%s\"", label);
            return false;
        }
        AUTO(freep) char *key = xasprintf("%.*s", (int)(eq - label), label);
        (void)json_object_set_new(o, key, json_string(eq + 1));
    }
    return true;
}
