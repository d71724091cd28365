/* submit.c: see submit.h. */
#include "cli/submit.h"

#include "cli/field.h"
#include "cli/text.h"
#include "cli/upload.h"

#include <stdlib.h>
#include <string.h>

bool submit_valid(const struct submit_settings *s)
{
    if (s->upload && s->no_upload)
        (void)command_misused("--upload and --no-upload exclude each other");
    return !(s->upload && s->no_upload);
}

static int name_file(const struct submit_file *f, const char *key, const char *value)
{
    json_auto_t *name = json_pack("{s:s}", key, value);

    if (json_object_set(f->in, f->key, name) < 0 ||
        (f->also && json_object_set(f->also, f->key, name) < 0))
        return command_misused("arguments must be UTF-8");
    return EXIT_DONE;
}

static int send_file(struct context *cx, const struct submit_settings *s, struct submit_file *f)
{
    json_auto_t *sent = NULL;
    int status = upload_path(cx, f->path, s->quiet, &sent);

    if (status != EXIT_DONE)
        return status;
    f->upload = xstrdup(field_text(sent, "id"));
    return name_file(f, "upload", f->upload);
}

static bool is_here(const char *path)
{
    AUTO(freep) char *real = realpath(path, NULL);

    return real != NULL;
}

/* Without asking the server. */
static int place_file(struct context *cx, const struct submit_settings *s, struct submit_file *f)
{
    AUTO(freep) char *real = realpath(f->path, NULL);

    if (s->upload || (real && !s->no_upload && !http_client_is_local(cx->http)))
        return send_file(cx, s, f);
    return name_file(f, "path", real ? real : f->path);
}

/* The file that a refusal is about, when uploading it may help, else NULL. */
static struct submit_file *unseen(const struct submit_settings *s, struct submit_file *file,
                                  size_t n_files, const struct err *err)
{
    if (s->no_upload || (err->code != ERR_NOT_FOUND && err->code != ERR_FORBIDDEN))
        return NULL;
    for (size_t i = 0; i < n_files; i++) {
        size_t n = strlen(file[i].pointer);

        if (!file[i].upload && strncmp(err->pointer, file[i].pointer, n) == 0 &&
            (err->pointer[n] == '\0' || strcmp(err->pointer + n, "/path") == 0) &&
            is_here(file[i].path))
            return &file[i];
    }
    return NULL;
}

/* Returns an exit status, or -1 and *err when the server refused. */
static int submit(struct context *cx, const json_t *body, json_t **job, struct err *err)
{
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;
    /* No waiting here: the sooner the id is known, the sooner ^C can tell it. */
    struct http_request rq = {.method = "POST", .path = "/v1/jobs", .body = body};

    if (http_call(cx->http, &rq, &reply, err) < 0)
        return -1;
    *job = TAKE(reply.body);
    if (*job)
        return EXIT_DONE;
    fprintf(stderr, "interrupted before the server answered: see spectralctl jobs\n");
    return EXIT_INTERRUPTED;
}

static void say_unseen(const struct submit_file *f)
{
    AUTO(freep) char *path = text_clean(f->path);

    fprintf(stderr, "the server cannot see %s: uploading it\n", path);
}

int submit_files(struct context *cx, const struct submit_settings *s, json_t *body,
                 struct submit_file *file, size_t n_files, json_t **job)
{
    int status = EXIT_DONE;

    ASSERT(n_files <= SUBMIT_FILES_MAX);
    for (size_t i = 0; i < n_files && status == EXIT_DONE; i++)
        status = place_file(cx, s, &file[i]);
    while (status == EXIT_DONE) { /* each refusal that is not the last costs a file */
        struct submit_file *f;
        struct err err = {0};

        status = submit(cx, body, job, &err);
        if (status >= 0)
            return status;
        f = unseen(s, file, n_files, &err);
        if (!f)
            return command_failed(cx, &err);
        if (!s->quiet)
            say_unseen(f);
        status = send_file(cx, s, f);
    }
    return status;
}

void submit_end(struct context *cx, const struct submit_settings *s, struct submit_file *file,
                size_t n_files, const json_t *job)
{
    for (size_t i = 0; i < n_files; i++) {
        if (file[i].upload && !s->keep_upload && (!job || follow_is_final(job)))
            upload_delete(cx, file[i].upload);
        free(file[i].upload);
        file[i].upload = NULL;
    }
}
