/* cmd_label.c: spectralctl label */
#include "cli/commands.h"
#include "cli/text.h"

#include <string.h>

#define ATTEMPTS 5 /* somebody else may label the same thing at the same time */

struct label_settings {
    bool json;
};

static const struct arg_option options[] = {
    {"json", ARG_FLAG, offsetof(struct label_settings, json), NULL,
     "print what was labelled as JSON"},
};
static const struct arg_command args = {
    .name = "label",
    .operands = "JOB|ANALYSIS [KEY=VALUE|KEY-]...",
    .min_operands = 1,
    .max_operands = ARG_LIST_MAX,
    .summary = "Show or change the labels of a job or an analysis.",
    .notes = "KEY=VALUE sets a label, KEY- removes one, others stay. Without changes the labels\n"
             "are printed.\n\n"
             "Example:\n"
             "  spectralctl label ana_01K... run=baseline step=1000 draft-\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

/* {"labels": {…}} from the operands behind the id, or NULL. */
static json_t *patch_of(const struct arg_operands *operands, struct err *err)
{
    json_auto_t *labels = json_object();

    for (size_t i = 1; i < operands->count; i++) {
        const char *text = operands->value[i], *equals = strchr(text, '=');
        size_t len = equals ? (size_t)(equals - text) : strlen(text);
        bool removes = !equals && len > 1 && text[len - 1] == '-';

        if ((!equals && !removes) || len == 0) {
            err_set(err, ERR_INVALID, "a label is KEY=VALUE or KEY-, not \"%s\"", text);
            return NULL;
        }
        AUTO(freep) char *key = xasprintf("%.*s", (int)(len - (removes ? 1 : 0)), text);
        json_object_set_new(labels, key, removes ? json_null() : json_string(equals + 1));
    }
    return json_pack("{s:O}", "labels", labels);
}

/* Change what `path` names as it is now. ERR_CONFLICT: it has changed meanwhile. */
static int change(struct context *cx, const char *path, const json_t *patch, json_t **out,
                  struct err *err)
{
    AUTO(http_reply_done) struct http_reply now = HTTP_REPLY_INIT;
    AUTO(http_reply_done) struct http_reply then = HTTP_REPLY_INIT;
    const struct http_request get = {.method = "GET", .path = path};
    int r = http_call(cx->http, &get, &now, err);

    if (r < 0 || now.status == 0)
        return r;
    if (json_object_size(json_object_get(patch, "labels")) == 0) {
        *out = TAKE(now.body);
        return 0;
    }
    const struct http_request rq = {
        .method = "PATCH", .path = path, .body = patch, .if_match = now.etag};

    r = http_call(cx->http, &rq, &then, err);
    if (r == 0)
        *out = TAKE(then.body);
    return r;
}

static void print_labels(const json_t *of)
{
    const char *key;
    json_t *value;

    json_object_foreach(json_object_get(of, "labels"), key, value)
    {
        AUTO(freep) char *k = text_clean(key);
        AUTO(freep) char *v = text_clean(json_string_value(value) ? json_string_value(value) : "");

        printf("%s=%s\n", k, v);
    }
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct label_settings *s = settings;
    const char *id = operands->value[0];
    AUTO(freep) char *escaped = http_escape(id);
    AUTO(freep)
    char *path = xasprintf("/v1/%s/%s", command_id_is(id, "ana_") ? "analyses" : "jobs", escaped);
    json_auto_t *patch = NULL, *now = NULL;
    struct err err = {0};
    int r = ERR_CONFLICT;

    patch = patch_of(operands, &err);
    if (!patch)
        return command_failed_here(&err);
    for (int i = 0; r == ERR_CONFLICT && i < ATTEMPTS; i++)
        r = change(cx, path, patch, &now, &err);
    if (r < 0)
        return command_failed(cx, &err);
    if (!now)
        return command_interrupted();
    if (s->json)
        command_print_json(now);
    else
        print_labels(now);
    return EXIT_DONE;
}

const struct command command_label = {&args, sizeof(struct label_settings), run};
