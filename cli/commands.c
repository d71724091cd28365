/* commands.c: what the commands share. */
#include "cli/commands.h"

#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

const struct command *commands_all(size_t *count)
{
    static const struct command *const all[] = {&command_analyze, &command_jobs, &command_show,
                                                &command_cancel, &command_rm};
    static struct command copy[ARRAY_LEN(all)];

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        copy[i] = *all[i];
    *count = ARRAY_LEN(all);
    return copy;
}

int command_failed(const struct context *cx, const struct err *err)
{
    AUTO(freep) char *text = text_clean(err->text);

    fprintf(stderr, "%sspectralctl: %s%s\n", term_colour(&cx->err, COLOUR_RED), text,
            term_colour(&cx->err, COLOUR_NONE));
    if (*err->pointer)
        fprintf(stderr, "  field: %s\n", err->pointer);
    if (err->code == ERR_IO)
        fprintf(stderr, "  Is the server running? Start one with: spectrald --model-root DIR\n"
                        "  or name another with --server URL or $SPECTRALCTL_SERVER.\n");
    return EXIT_SERVER;
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
