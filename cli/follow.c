/* follow.c: wait for a job by long poll, and show how far it is. */
#include "cli/commands.h"
#include "cli/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_SECONDS 20
#define BAR_WIDTH    30
#define LINE_EVERY_S 5 /* between lines when nobody watches */

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static bool is_final(const json_t *job)
{
    const char *s = text_of(job, "state");

    return strcmp(s, "succeeded") == 0 || strcmp(s, "failed") == 0 || strcmp(s, "cancelled") == 0;
}

static void draw_bar(const struct context *cx, const json_t *job)
{
    const json_t *p = json_object_get(job, "progress"), *eta = json_object_get(p, "eta_s");
    double fraction = json_number_value(json_object_get(p, "fraction"));
    int full = (int)lround(fraction * BAR_WIDTH);
    char left[TEXT_SECONDS_MAX] = "";
    AUTO(freep) char *clean = text_clean(text_of(p, "message"));
    size_t room = cx->err.width < 400 && cx->err.width > 76 ? cx->err.width - 72 : 32;
    AUTO(freep) char *shown = text_shorten(clean, room);

    if (json_is_number(eta))
        text_seconds(json_number_value(eta), left);
    fprintf(stderr, "\r\033[K[");
    for (int i = 0; i < BAR_WIDTH; i++)
        fputc(i < full ? '#' : '.', stderr);
    fprintf(stderr, "] %3.0f%% %lld/%lld %s%s%s", fraction * 100,
            (long long)json_integer_value(json_object_get(p, "layers_done")),
            (long long)json_integer_value(json_object_get(p, "layers_total")), shown,
            *left ? "  left " : "", left);
    (void)fflush(stderr);
}

static void print_line(const json_t *job, time_t *last)
{
    const json_t *p = json_object_get(job, "progress");
    AUTO(freep) char *clean = text_clean(text_of(p, "message"));
    time_t now = time(NULL);

    if (now - *last < LINE_EVERY_S)
        return;
    *last = now;
    fprintf(stderr, "%s: %.0f%% %s\n", text_of(job, "id"),
            100 * json_number_value(json_object_get(p, "fraction")), clean);
}

static void show(const struct context *cx, const json_t *job, time_t *last)
{
    if (cx->err.tty)
        draw_bar(cx, job);
    else
        print_line(job, last);
}

static int status_of(const struct context *cx, const json_t *job)
{
    const char *state = text_of(job, "state");
    const json_t *error = json_object_get(job, "error");
    AUTO(freep) char *detail = text_clean(text_of(error, "detail"));

    if (strcmp(state, "succeeded") == 0)
        return EXIT_DONE;
    if (strcmp(state, "cancelled") == 0) {
        fprintf(stderr, "job %s was cancelled\n", text_of(job, "id"));
        return EXIT_JOB_CANCELLED;
    }
    fprintf(stderr, "%sjob %s failed (%s): %s%s\n", term_colour(&cx->err, COLOUR_RED),
            text_of(job, "id"), text_of(job, "reason"), detail, term_colour(&cx->err, COLOUR_NONE));
    return EXIT_JOB_FAILED;
}

int follow_job(struct context *cx, json_t **job)
{
    AUTO(freep) char *path = xasprintf("/v1/jobs/%s", text_of(*job, "id"));
    struct http_reply reply = HTTP_REPLY_INIT;
    char etag[HTTP_ETAG_MAX] = "";
    time_t last = time(NULL);

    while (!is_final(*job)) {
        struct http_request rq = {
            .method = "GET", .path = path, .wait_s = POLL_SECONDS, .if_none_match = etag};
        struct err err = {0};

        show(cx, *job, &last);
        if (http_call(cx->http, &rq, &reply, &err) < 0)
            return command_failed(cx, &err);
        if (reply.status == 0) {
            http_reply_done(&reply);
            fprintf(stderr,
                    "\nThe job goes on. See it with: spectralctl show %s\n"
                    "Stop it with: spectralctl cancel %s\n",
                    text_of(*job, "id"), text_of(*job, "id"));
            return EXIT_INTERRUPTED;
        }
        if (reply.body) {
            json_decref(*job);
            *job = reply.body;
            reply.body = NULL;
            memcpy(etag, reply.etag, sizeof etag);
        }
        http_reply_done(&reply);
    }
    if (cx->err.tty)
        fprintf(stderr, "\r\033[K");
    return status_of(cx, *job);
}
