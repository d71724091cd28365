/* commands.c: what the commands share. */
#include "cli/commands.h"

#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

const struct command *const *commands_all(size_t *count)
{
    static const struct command *const all[] = {&command_analyze, &command_jobs, &command_show,
                                                &command_cancel, &command_rm};

    *count = ARRAY_LEN(all);
    return all;
}

int command_failed(const struct context *cx, const struct err *err)
{
    AUTO(freep) char *text = text_clean(err->text);
    AUTO(freep) char *pointer = text_clean(err->pointer);

    fprintf(stderr, "%sspectralctl: %s%s\n", term_colour(&cx->err, COLOUR_RED), text,
            term_colour(&cx->err, COLOUR_NONE));
    if (*pointer)
        fprintf(stderr, "  field: %s\n", pointer);
    if (err->code == ERR_IO)
        fprintf(stderr, "  Is the server running? Start one with: spectrald --model-root DIR\n"
                        "  or name another with --server URL or $SPECTRALCTL_SERVER.\n");
    return EXIT_SERVER;
}

void command_print_json(const json_t *value)
{
    (void)json_dumpf(value, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    printf("\n");
}

bool command_call(struct context *cx, const char *method, const char *path, json_t **body,
                  int *status)
{
    struct http_request rq = {.method = method, .path = path};
    struct http_reply reply = HTTP_REPLY_INIT;
    struct err err = {0};

    if (http_call(cx->http, &rq, &reply, &err) < 0) {
        *status = command_failed(cx, &err);
        return false;
    }
    if (reply.status == 0) {
        fprintf(stderr, "interrupted\n");
        *status = EXIT_INTERRUPTED;
        http_reply_done(&reply);
        return false;
    }
    if (body) {
        *body = reply.body;
        reply.body = NULL;
    }
    http_reply_done(&reply);
    return true;
}
