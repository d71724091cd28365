/* commands.c: the table of commands, and what they share. */
#include "cli/commands.h"

#include "cli/field.h"
#include "cli/outfile.h"
#include "cli/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const struct command *const *commands_all(size_t *count)
{
    static const struct command *const all[] = {
        &command_analyze,    &command_jobs,      &command_show,     &command_report,
        &command_watch,      &command_cancel,    &command_rm,       &command_label,
        &command_export,     &command_esd,       &command_traps,    &command_plot,
        &command_series,     &command_compare,   &command_trend,    &command_distances,
        &command_schedule,   &command_experts,   &command_plan,     &command_prune,
        &command_decode,     &command_smooth,    &command_simpson,  &command_upload,
        &command_uploads,    &command_artifacts, &command_artifact, &command_help,
        &command_completion,
    };

    *count = ARRAY_LEN(all);
    return all;
}

const struct command *commands_find(const char *name)
{
    size_t n;
    const struct command *const *all = commands_all(&n);

    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i]->args->name, name) == 0)
            return all[i];
    return NULL;
}

static const struct arg_option common_options[] = {
    {"server", ARG_TEXT, offsetof(struct common_settings, server), "URL",
     "http://HOST:PORT or unix:PATH (default $SPECTRALCTL_SERVER,\nelse " HTTP_SERVER_DEFAULT ")"},
    {"color", ARG_TEXT, offsetof(struct common_settings, color), "auto|always|never",
     "colours (auto: on a terminal, unless $NO_COLOR is set)"},
    {"help", ARG_FLAG, offsetof(struct common_settings, help), NULL, "print help and exit"},
    {"version", ARG_FLAG, offsetof(struct common_settings, version), NULL,
     "print the version and exit"},
};
const struct arg_command common_command = {
    .name = "",
    .operands = "COMMAND ...",
    .summary = "Command-line client of spectrald.",
    .notes = "",
    .options = common_options,
    .n_options = ARRAY_LEN(common_options),
};

const struct exit_meaning exit_meanings[] = {
    {EXIT_DONE, "done"},
    {EXIT_USAGE, "wrong usage, or a file here cannot be read or written"},
    {EXIT_SERVER, "the server refused"},
    {EXIT_JOB_FAILED, "the job failed"},
    {EXIT_JOB_CANCELLED, "the job was cancelled"},
    {EXIT_UNREACHABLE, "no answer from the server"},
    {EXIT_INTERRUPTED, "interrupted"},
};
const size_t n_exit_meanings = ARRAY_LEN(exit_meanings);

int command_failed(const struct context *cx, const struct err *err)
{
    AUTO(freep) char *text = text_clean(err->text);
    AUTO(freep) char *pointer = text_clean(err->pointer);

    fprintf(stderr, "%sspectralctl: %s%s\n", term_colour(&cx->err, COLOUR_RED), text,
            term_colour(&cx->err, COLOUR_NONE));
    if (*pointer)
        fprintf(stderr, "  field: %s\n", pointer);
    if (err->code != ERR_IO)
        return EXIT_SERVER;
    fprintf(stderr, "  Is the server running? Start one with: spectrald --model-root DIR\n"
                    "  or name another with --server URL or $SPECTRALCTL_SERVER.\n");
    return EXIT_UNREACHABLE;
}

int command_misused(const char *fmt, ...)
{
    AUTO(freep) char *raw = NULL;
    AUTO(freep) char *clean = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&raw, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    clean = text_clean(raw);
    fprintf(stderr, "spectralctl: %s\n", clean);
    return EXIT_USAGE;
}

int command_failed_here(const struct err *err)
{
    return command_misused("%s", err->text);
}

int command_interrupted(void)
{
    fprintf(stderr, "interrupted\n");
    return EXIT_INTERRUPTED;
}

void command_print_json(const json_t *value)
{
    (void)json_dumpf(value, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    printf("\n");
}

bool command_request(struct context *cx, const struct http_request *rq, struct http_reply *reply,
                     int *status)
{
    struct err err = {0};

    if (http_call(cx->http, rq, reply, &err) < 0) {
        *status = command_failed(cx, &err);
        return false;
    }
    if (reply->status == 0) {
        *status = command_interrupted();
        return false;
    }
    return true;
}

bool command_call(struct context *cx, const char *method, const char *path, json_t **body,
                  int *status)
{
    const struct http_request rq = {.method = method, .path = path};
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;

    if (!command_request(cx, &rq, &reply, status))
        return false;
    if (body)
        *body = TAKE(reply.body);
    return true;
}

bool command_id_is(const char *id, const char *prefix)
{
    return strncmp(id, prefix, strlen(prefix)) == 0;
}

bool output_form_valid(const struct output_form *form)
{
    if ((int)form->json + (int)form->csv + (int)form->quiet <= 1)
        return true;
    (void)command_misused("--json, --csv and --quiet exclude each other");
    return false;
}

void command_print_warnings(const struct context *cx, const json_t *reply)
{
    const json_t *w;
    size_t i;

    json_array_foreach(json_object_get(reply, "warnings"), i, w)
    {
        const char *text = json_is_object(w) ? field_text(w, "detail") : json_string_value(w);
        AUTO(freep) char *clean = text_clean(text ? text : "");

        fprintf(stderr, "%swarning: %s%s\n", term_colour(&cx->err, COLOUR_YELLOW), clean,
                term_colour(&cx->err, COLOUR_NONE));
    }
}

int command_print(struct context *cx, const char *path, const char *type, const char *name)
{
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;
    AUTO(outfile_discard) struct outfile file = {0};
    const struct http_request rq = {.method = "GET", .path = path, .accept = type};
    struct err err = {0};
    int status = EXIT_DONE;

    if (name && outfile_open(name, &file, &err) < 0)
        return command_failed_here(&err);
    if (!command_request(cx, &rq, &reply, &status))
        return status;
    if (reply.raw.len > 0)
        (void)fwrite(reply.raw.data, 1, reply.raw.len, name ? file.out : stdout);
    if (!name && reply.raw.len > 0 && reply.raw.data[reply.raw.len - 1] != '\n')
        printf("\n");
    if (name && outfile_commit(&file, &err) < 0)
        return command_failed_here(&err);
    return EXIT_DONE;
}
