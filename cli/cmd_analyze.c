/* cmd_analyze.c: spectralctl analyze PATH */
#include "cli/commands.h"
#include "cli/field.h"

#include <stdlib.h>
#include <string.h>

struct analyze_settings {
    bool wait, detach, json, compat, integers;
    const char *precision, *include, *exclude;
    struct arg_list labels, layers, types;
    struct arg_count min_evals, max_evals, max_n;
};

#define AT(field) offsetof(struct analyze_settings, field)
static const struct arg_option options[] = {
    {"wait", ARG_FLAG, AT(wait), NULL, "wait for the result and print it (the default)"},
    {"detach", ARG_FLAG, AT(detach), NULL, "print the job's id and leave"},
    {"json", ARG_FLAG, AT(json), NULL, "print analysis and layers as one JSON object"},
    {"precision", ARG_TEXT, AT(precision), "P", "double (the default) or single"},
    {"compat", ARG_FLAG, AT(compat), NULL,
     "WeightWatcher 0.7.5.5's values where the default differs"},
    {"label", ARG_LIST, AT(labels), "KEY=VALUE", "a label of the job; may be repeated"},
    {"layers", ARG_LIST, AT(layers), "ID|NAME", "only this layer; may be repeated"},
    {"types", ARG_LIST, AT(types), "TYPE",
     "only dense, embedding, conv1d or conv2d; may be repeated"},
    {"include", ARG_TEXT, AT(include), "REGEX", "only layers whose name matches"},
    {"exclude", ARG_TEXT, AT(exclude), "REGEX", "no layers whose name matches"},
    {"min-evals", ARG_COUNT, AT(min_evals), "N",
     "skip layers with fewer eigenvalues; 0 = none (10)"},
    {"max-evals", ARG_COUNT, AT(max_evals), "N",
     "skip layers with more; 0 = no limit (0; with --compat 15000)"},
    {"max-N", ARG_COUNT, AT(max_n), "N",
     "skip layers with a longer side; 0 = no limit (0; with\n--compat 50000)"},
    {"integers", ARG_FLAG, AT(integers), NULL, "take integer tensors as numbers"},
};

static const struct arg_command args = {
    .name = "analyze",
    .operands = "PATH",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Analyse a safetensors file or a Hugging Face model directory.",
    .notes =
        "PATH must lie under one of the server's model roots. A path that exists here is made\n"
        "absolute; any other is taken relative to a model root.\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

static void put_count(json_t *params, const char *key, const struct arg_count *n)
{
    if (n->given)
        json_object_set_new(params, key, json_integer(n->value));
}

static json_t *params_of(const struct analyze_settings *s)
{
    json_t *p = json_object(), *a;

    if (s->precision)
        json_object_set_new(p, "precision", json_string(s->precision));
    if (s->compat)
        json_object_set_new(p, "compat", json_string("weightwatcher-0.7.5.5"));
    if (s->integers)
        json_object_set_new(p, "integers", json_true());
    if (s->include)
        json_object_set_new(p, "include", json_string(s->include));
    if (s->exclude)
        json_object_set_new(p, "exclude", json_string(s->exclude));
    put_count(p, "min_evals", &s->min_evals);
    put_count(p, "max_evals", &s->max_evals);
    put_count(p, "max_N", &s->max_n);
    if (s->types.count) {
        a = json_array();
        for (size_t i = 0; i < s->types.count; i++)
            json_array_append_new(a, json_string(s->types.value[i]));
        json_object_set_new(p, "types", a);
    }
    if (s->layers.count) {
        a = json_array();
        for (size_t i = 0; i < s->layers.count; i++) {
            const char *v = s->layers.value[i];
            bool id = *v && strlen(v) < 10 && v[strspn(v, "0123456789")] == '\0';

            json_array_append_new(a, id ? json_integer(atoll(v)) : json_string(v));
        }
        json_object_set_new(p, "layers", a);
    }
    return p;
}

static json_t *labels_of(const struct analyze_settings *s, struct err *err)
{
    json_t *o = json_object();

    for (size_t i = 0; i < s->labels.count; i++) {
        const char *eq = strchr(s->labels.value[i], '=');

        if (!eq || eq == s->labels.value[i]) {
            err_set(err, ERR_INVALID, "--label wants KEY=VALUE, not \"%s\"", s->labels.value[i]);
            json_decref(o);
            return NULL;
        }
        AUTO(freep)
        char *key = xasprintf("%.*s", (int)(eq - s->labels.value[i]), s->labels.value[i]);
        json_object_set_new(o, key, json_string(eq + 1));
    }
    return o;
}

static int submit(struct context *cx, const struct analyze_settings *s, const char *path,
                  json_t **job)
{
    AUTO(freep) char *real = realpath(path, NULL);
    struct http_reply reply = HTTP_REPLY_INIT;
    struct err err = {0};
    json_t *labels = labels_of(s, &err), *body;
    /* No waiting here: the sooner the id is known, the sooner ^C can tell it. */
    struct http_request rq = {.method = "POST", .path = "/v1/jobs"};
    int r;

    if (!labels) {
        fprintf(stderr, "spectralctl: %s\n", err.text);
        return EXIT_USAGE;
    }
    body = json_pack("{s:s,s:{s:s},s:o,s:o}", "kind", "analyze", "source", "path",
                     real ? real : path, "params", params_of(s), "labels", labels);
    if (!body) {
        fprintf(stderr, "spectralctl: arguments must be UTF-8\n");
        return EXIT_USAGE;
    }
    rq.body = body;
    r = http_call(cx->http, &rq, &reply, &err);
    json_decref(body);
    if (r < 0)
        return command_failed(cx, &err);
    *job = reply.body;
    reply.body = NULL;
    http_reply_done(&reply);
    if (*job)
        return EXIT_DONE;
    fprintf(stderr, "interrupted before the server answered: see spectralctl jobs\n");
    return EXIT_INTERRUPTED;
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct analyze_settings *s = settings;
    json_t *job = NULL;
    int status;

    if (s->wait && s->detach) {
        fprintf(stderr, "spectralctl: --wait and --detach exclude each other\n");
        return EXIT_USAGE;
    }
    status = submit(cx, s, operands->value[0], &job);
    if (status != EXIT_DONE)
        return status;
    if (s->detach) {
        if (s->json)
            command_print_json(job);
        else
            printf("%s\n", field_text(job, "id"));
        json_decref(job);
        return EXIT_DONE;
    }
    status = follow_job(cx, &job);
    if (status == EXIT_DONE) {
        const json_t *result = json_object_get(job, "result");

        status = report_analysis(cx, field_text(result, "analysis"), job, s->json);
    }
    json_decref(job);
    return status;
}

const struct command command_analyze = {&args, sizeof(struct analyze_settings), run};
