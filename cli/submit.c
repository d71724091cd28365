/* submit.c: see submit.h. */
#include "cli/submit.h"

#include "cli/field.h"
#include "cli/upload.h"

#include <stdlib.h>
#include <string.h>

bool submit_valid(const struct submit_settings *s)
{
    if (s->upload && s->no_upload)
        (void)command_misused("--upload and --no-upload exclude each other");
    return !(s->upload && s->no_upload);
}

/* Returns an exit status, or -1 and *err when the server refused. */
static int submit(struct context *cx, json_t *body, const char *key, const char *value,
                  json_t **job, struct err *err)
{
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;
    /* No waiting here: the sooner the id is known, the sooner ^C can tell it. */
    struct http_request rq = {.method = "POST", .path = "/v1/jobs", .body = body};

    if (json_object_set_new(body, "source", json_pack("{s:s}", key, value)) < 0)
        return command_misused("arguments must be UTF-8");
    if (http_call(cx->http, &rq, &reply, err) < 0)
        return -1;
    *job = TAKE(reply.body);
    if (*job)
        return EXIT_DONE;
    fprintf(stderr, "interrupted before the server answered: see spectralctl jobs\n");
    return EXIT_INTERRUPTED;
}

static int submit_upload(struct context *cx, const struct submit_settings *s, json_t *body,
                         const char *path, char **upload, json_t **job)
{
    json_auto_t *sent = NULL;
    struct err err = {0};
    int status = upload_path(cx, path, s->quiet, &sent);

    if (status != EXIT_DONE)
        return status;
    *upload = xstrdup(field_text(sent, "id"));
    status = submit(cx, body, "upload", *upload, job, &err);
    return status < 0 ? command_failed(cx, &err) : status;
}

/* True when a refusal means that the server cannot see the path. */
static bool is_unseen(const struct err *err)
{
    return (err->code == ERR_NOT_FOUND || err->code == ERR_FORBIDDEN) &&
           strcmp(err->pointer, "#/source/path") == 0;
}

int submit_path(struct context *cx, const struct submit_settings *s, json_t *body, const char *path,
                char **upload, json_t **job)
{
    AUTO(freep) char *real = realpath(path, NULL);
    bool may_upload = real && !s->no_upload;
    struct err err = {0};
    int status;

    if (s->upload || (may_upload && !http_client_is_local(cx->http)))
        return submit_upload(cx, s, body, path, upload, job);
    status = submit(cx, body, "path", real ? real : path, job, &err);
    if (status >= 0)
        return status;
    if (!may_upload || !is_unseen(&err))
        return command_failed(cx, &err);
    if (!s->quiet)
        fprintf(stderr, "the server cannot see this path: uploading it\n");
    return submit_upload(cx, s, body, path, upload, job);
}

void submit_end(struct context *cx, const struct submit_settings *s, const char *upload,
                const json_t *job)
{
    if (upload && !s->keep_upload && (!job || follow_is_final(job)))
        upload_delete(cx, upload);
}
