/* cmd_watch.c: spectralctl watch: several jobs at once, each on a long poll of its own. */
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/pages.h"
#include "cli/progress.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

#include "common/ident.h"

#define POLLS_MAX   32 /* at once; a server allows 64 connections per address */
#define POLL_S      30
#define DRAW_MS     1000
#define PAUSE_NS    ((int64_t)150 * 1000000) /* between polls of one job: layers may fly by */
#define RETRY_NS    ((int64_t)1000 * 1000000)
#define RETRIES     30
#define PLAIN_WIDTH 160

struct watched {
    char *id;
    json_t *job; /* newest description, or NULL */
    char etag[HTTP_ETAG_MAX];
    struct http_transfer *poll; /* under way, or NULL */
    int64_t after_ns;           /* no poll before */
    unsigned failures;          /* in a row */
    char *told;                 /* state that a plain line has told */
    int status;                 /* exit status, once `over` */
    bool over;
};

struct watch {
    struct context *cx;
    struct watched *jobs;
    size_t n, n_polls, n_over;
    size_t drawn; /* lines on the screen */
    int64_t drawn_ns;
    bool quiet;
};

struct watch_settings {
    bool quiet;
};

static const struct arg_option options[] = {
    {"quiet", ARG_FLAG, offsetof(struct watch_settings, quiet), NULL,
     "print nothing: the exit status tells"},
};
static const struct arg_command args = {
    .name = "watch",
    .operands = "[JOB...]",
    .max_operands = ARG_OPERANDS_MAX,
    .summary = "Follow jobs until they are over; all unfinished ones without operands.",
    .notes = "On a terminal one line per job, redrawn; elsewhere a line whenever a job's state\n"
             "changes. The exit status is 0 when all succeeded, else that of the first that did\n"
             "not.\n\n"
             "Examples:\n"
             "  spectralctl watch\n"
             "  spectralctl watch --quiet $(spectralctl analyze model --detach) && echo done\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

static void add_job(struct watch *w, const char *id)
{
    w->jobs = xrealloc(w->jobs, (w->n + 1) * sizeof(*w->jobs));
    w->jobs[w->n++] = (struct watched){.id = xstrdup(id)};
}

/* All that are not over. A list has one state, so there are several. */
static int add_unfinished(struct watch *w)
{
    static const char *const states[] = {"running", "cancelling", "queued"};

    for (size_t s = 0; s < ARRAY_LEN(states); s++) {
        AUTO(freep) char *path = xasprintf("/v1/jobs?state=%s", states[s]);
        json_auto_t *jobs = NULL;
        const json_t *job;
        size_t i;
        int status = EXIT_DONE;

        jobs = pages_fetch(w->cx, path, "jobs", SIZE_MAX, NULL, &status);
        if (!jobs)
            return status;
        json_array_foreach(jobs, i, job)
        {
            bool known = false;

            for (size_t k = 0; k < w->n; k++)
                known = known || strcmp(w->jobs[k].id, field_text(job, "id")) == 0;
            if (!known) /* it may have gone from one state to the next meanwhile */
                add_job(w, field_text(job, "id"));
        }
    }
    return EXIT_DONE;
}

static void watch_done(struct watch *w)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->jobs[i].poll)
            http_abandon(w->jobs[i].poll);
        json_decref(w->jobs[i].job);
        free(w->jobs[i].id);
        free(w->jobs[i].told);
    }
    free(w->jobs);
}

/* --- what is shown ------------------------------------------------------------------------- */

static enum colour colour_of(const char *state)
{
    if (strcmp(state, "succeeded") == 0)
        return COLOUR_GREEN;
    return strcmp(state, "failed") == 0 || strcmp(state, "cancelled") == 0 ? COLOUR_RED
                                                                           : COLOUR_NONE;
}

/* The id of what came of a job. */
static const char *result_of(const json_t *job)
{
    static const char *const kinds[] = {"artifact", "distances", "plan", "analysis"};
    const json_t *result = json_object_get(job, "result");
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(kinds) && !json_object_get(result, kinds[i]))
        i++;
    return field_text(result, kinds[i]);
}

/* "job_…  running  [###...] …", cut to `width`; without colour. */
static char *line_of(const struct watched *j, size_t width)
{
    const char *state = field_text(j->job, "state");
    AUTO(freep) char *id = text_clean(j->id);
    AUTO(freep) char *progress = NULL;
    AUTO(freep) char *detail = NULL;
    AUTO(freep) char *whole = NULL;

    if (!j->job)
        return xasprintf("%s  %s", id, j->over ? "gone" : "...");
    if (!follow_is_final(j->job)) {
        size_t head = strlen(id) + 2;

        progress = progress_line(j->job, width > head + 64 ? width - head : 64);
        whole = xasprintf("%s  %s", id, progress);
    } else {
        const char *reason = field_text(j->job, "reason");

        detail = text_clean(strcmp(state, "succeeded") == 0 ? result_of(j->job)
                            : *reason                       ? reason
                                                            : "");
        whole = xasprintf("%s  %s%s%s", id, state, *detail ? "  " : "", detail);
    }
    return text_shorten(whole, width);
}

/* Redraw in place as many lines as the screen holds, those first that still move. */
static void draw(struct watch *w)
{
    const struct term *t = &w->cx->out;
    size_t room = t->height - 2, shown = 0;

    if (w->drawn > 0)
        fprintf(t->out, "\033[%zuA", w->drawn);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < w->n && shown < room; i++) {
            AUTO(freep) char *line = NULL;

            if (w->n > room && w->jobs[i].over != (pass == 1))
                continue;
            if (w->n <= room && pass == 1) /* all fit: in the order given */
                continue;
            line = line_of(&w->jobs[i], t->width - 1);
            fprintf(t->out, "\r\033[K%s%s%s\n",
                    term_colour(t, colour_of(field_text(w->jobs[i].job, "state"))), line,
                    term_colour(t, COLOUR_NONE));
            shown++;
        }
    w->drawn = shown;
    if (w->n > room) {
        fprintf(t->out, "\r\033[K%zu of %zu jobs are over\n", w->n_over, w->n);
        w->drawn++;
    }
    (void)fflush(t->out);
    w->drawn_ns = mono_ns();
}

/* A line when the state is another one. */
static void tell(struct watched *j)
{
    const char *state = j->job ? field_text(j->job, "state") : "gone";
    AUTO(freep) char *line = NULL;

    if (j->told && strcmp(j->told, state) == 0)
        return;
    free(j->told);
    j->told = xstrdup(state);
    if (j->job && !follow_is_final(j->job)) {
        AUTO(freep) char *clean = text_clean(state);

        printf("%s  %s\n", j->id, clean);
    } else {
        line = line_of(j, PLAIN_WIDTH);
        printf("%s\n", line);
    }
    (void)fflush(stdout);
}

static void show(struct watch *w, struct watched *changed)
{
    if (w->quiet)
        return;
    if (!w->cx->out.tty)
        tell(changed);
    else
        draw(w);
}

/* --- polling ------------------------------------------------------------------------------- */

static void start_polls(struct watch *w)
{
    int64_t now = mono_ns();

    for (size_t i = 0; i < w->n && w->n_polls < POLLS_MAX; i++) {
        struct watched *j = &w->jobs[i];

        if (j->over || j->poll || now < j->after_ns)
            continue;
        AUTO(freep) char *id = http_escape(j->id);
        AUTO(freep) char *path = xasprintf("/v1/jobs/%s", id);
        const struct http_request rq = {.method = "GET",
                                        .path = path,
                                        .wait_s = *j->etag ? POLL_S : 0,
                                        .if_none_match = j->etag};

        j->poll = http_begin(w->cx->http, &rq, j);
        w->n_polls++;
    }
}

static void finish_job(struct watch *w, struct watched *j, int status)
{
    j->over = true;
    j->status = status;
    w->n_over++;
}

/* Take the answer to a poll. False when the server is lost for good. */
static bool take(struct watch *w, struct watched *j, struct err *err)
{
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;
    int r = http_end(j->poll, &reply, err);

    j->poll = NULL;
    w->n_polls--;
    j->after_ns = mono_ns() + (r < 0 ? RETRY_NS : PAUSE_NS);
    if (r == ERR_IO || r == ERR_BUSY)
        return j->failures++ < RETRIES;
    j->failures = 0;
    if (r < 0) { /* deleted, or never there */
        if (w->drawn == 0)
            (void)command_failed(w->cx, err);
        json_decref(j->job);
        j->job = NULL;
        finish_job(w, j, EXIT_SERVER);
    } else if (reply.body) {
        json_decref(j->job);
        j->job = TAKE(reply.body);
        memcpy(j->etag, reply.etag, sizeof(j->etag));
        if (follow_is_final(j->job))
            finish_job(w, j,
                       strcmp(field_text(j->job, "state"), "succeeded") == 0 ? EXIT_DONE
                       : strcmp(field_text(j->job, "state"), "failed") == 0  ? EXIT_JOB_FAILED
                                                                             : EXIT_JOB_CANCELLED);
    } else {
        return true; /* nothing new */
    }
    show(w, j);
    return true;
}

/* How long to wait for answers: until the next poll may start or the clock ticks. */
static int patience_ms(const struct watch *w)
{
    int64_t now = mono_ns(), least = w->cx->out.tty ? (int64_t)DRAW_MS * 1000000 : INT64_MAX;

    for (size_t i = 0; w->n_polls < POLLS_MAX && i < w->n; i++) {
        const struct watched *j = &w->jobs[i];

        if (!j->over && !j->poll && j->after_ns - now < least)
            least = j->after_ns > now ? j->after_ns - now : 0;
    }
    return least == INT64_MAX ? -1 : (int)(least / 1000000) + 1;
}

static int follow(struct watch *w)
{
    struct err err = {0};
    int status = EXIT_DONE;

    while (w->n_over < w->n) {
        struct http_transfer *ended = NULL;

        start_polls(w);
        if (http_next(w->cx->http, patience_ms(w), &ended)) {
            fprintf(stderr, "\nThe jobs go on. spectralctl watch follows them again.\n");
            return EXIT_INTERRUPTED;
        }
        if (ended && !take(w, http_tag(ended), &err))
            return command_failed(w->cx, &err);
        if (!ended && !w->quiet && w->cx->out.tty &&
            mono_ns() - w->drawn_ns > (int64_t)DRAW_MS * 1000000 / 2)
            draw(w);
    }
    for (size_t i = 0; i < w->n && status == EXIT_DONE; i++)
        status = w->jobs[i].status;
    return status;
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct watch_settings *s = settings;
    struct watch w = {.cx = cx, .quiet = s->quiet};
    int status = EXIT_DONE;

    for (size_t i = 0; i < operands->count; i++)
        add_job(&w, operands->value[i]);
    if (operands->count == 0)
        status = add_unfinished(&w);
    if (status == EXIT_DONE && w.n == 0 && !s->quiet)
        fprintf(stderr, "no unfinished jobs\n");
    if (status == EXIT_DONE)
        status = follow(&w);
    watch_done(&w);
    return status;
}

const struct command command_watch = {&args, sizeof(struct watch_settings), run};
