/* follow.c: wait for a job by long poll. */
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/progress.h"
#include "cli/text.h"

#include <poll.h>
#include <string.h>

#define POLL_SECONDS  20 /* nobody watches: let the server hold the request */
#define WATCH_SECONDS 1  /* somebody does: the time left should move within a long layer too */
#define PAUSE_MS      100
#define RETRY_MS      1000
#define RETRIES       30

bool follow_is_final(const json_t *job)
{
    const char *s = field_text(job, "state");

    return strcmp(s, "succeeded") == 0 || strcmp(s, "failed") == 0 || strcmp(s, "cancelled") == 0;
}

int follow_status(const struct context *cx, const json_t *job)
{
    const char *state = field_text(job, "state");
    AUTO(freep) char *reason = text_clean(field_text(job, "reason"));
    AUTO(freep) char *detail = text_clean(field_text(json_object_get(job, "error"), "detail"));

    if (strcmp(state, "succeeded") == 0)
        return EXIT_DONE;
    if (strcmp(state, "cancelled") == 0) {
        fprintf(stderr, "job %s was cancelled\n", field_text(job, "id"));
        return EXIT_JOB_CANCELLED;
    }
    fprintf(stderr, "%sjob %s failed%s%s%s%s%s\n", term_colour(&cx->err, COLOUR_RED),
            field_text(job, "id"), *reason ? " (" : "", reason, *reason ? ")" : "",
            *detail ? ": " : "", detail);
    fputs(term_colour(&cx->err, COLOUR_NONE), stderr);
    return EXIT_JOB_FAILED;
}

static int interrupted(const json_t *job)
{
    fprintf(stderr,
            "\nThe job goes on. See it with: spectralctl show %s\n"
            "Stop it with: spectralctl cancel %s\n",
            field_text(job, "id"), field_text(job, "id"));
    return EXIT_INTERRUPTED;
}

/* Sleep; true when ^C came. */
static bool pause_ms(const struct context *cx, int ms)
{
    struct pollfd p = {.fd = cx->interrupt_fd, .events = POLLIN};

    return poll(&p, 1, ms) > 0;
}

/* One long poll: *job and etag are replaced when the job has changed. 1 = ^C. */
static int poll_once(struct context *cx, const char *path, json_t **job, char *etag,
                     struct err *err)
{
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;
    const struct http_request rq = {.method = "GET",
                                    .path = path,
                                    .wait_s = cx->err.tty ? WATCH_SECONDS : POLL_SECONDS,
                                    .if_none_match = etag};
    int r = http_call(cx->http, &rq, &reply, err);

    if (r < 0)
        return r;
    if (reply.status == 0)
        return 1;
    if (reply.body) {
        json_decref(*job);
        *job = TAKE(reply.body);
        memcpy(etag, reply.etag, HTTP_ETAG_MAX);
    }
    return 0;
}

/* Jobs outlive a restart of the server, so a lost connection is tried again for a while. */
static int wait_for(struct context *cx, json_t **job, struct progress *progress, bool quiet,
                    struct err *err)
{
    AUTO(freep) char *id = http_escape(field_text(*job, "id"));
    AUTO(freep) char *path = xasprintf("/v1/jobs/%s", id);
    char etag[HTTP_ETAG_MAX] = "";
    unsigned failures = 0;

    while (!follow_is_final(*job)) {
        int r;

        if (!quiet)
            progress_show(progress, *job);
        /* Small layers finish faster than anybody reads. */
        if (pause_ms(cx, failures ? RETRY_MS : PAUSE_MS))
            return 1;
        r = poll_once(cx, path, job, etag, err);
        if ((r == ERR_IO || r == ERR_BUSY) && failures < RETRIES) {
            if (failures++ == 0)
                fprintf(stderr, "\nconnection lost, trying again\n");
            continue;
        }
        if (r != 0)
            return r;
        failures = 0;
    }
    return 0;
}

int follow_job(struct context *cx, json_t **job, bool quiet)
{
    struct progress progress;
    struct err err = {0};
    int r;

    progress_init(&progress, &cx->err);
    r = wait_for(cx, job, &progress, quiet, &err);
    progress_end(&progress);
    if (r < 0)
        return command_failed(cx, &err);
    return r == 1 ? interrupted(*job) : follow_status(cx, *job);
}
