/* upload.c: see upload.h. */
#include "cli/upload.h"

#include <stdlib.h>
#include <string.h>

#include "cli/field.h"
#include "cli/package.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "common/digest.h"
#include "common/ident.h"

/* A package on its way. */
struct sending {
    struct package *package;
    struct hasher *sha256;
    struct progress progress;
    bool quiet;
    uint64_t done;
    int64_t from_ns;
    struct err err; /* why the package could not be read */
};

void upload_size(double nbytes, char out[UPLOAD_SIZE_MAX])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t u = 0;

    while (nbytes >= 999.5 && u + 1 < ARRAY_LEN(units)) {
        nbytes /= 1000;
        u++;
    }
    (void)snprintf(out, UPLOAD_SIZE_MAX, u > 0 && nbytes < 9.95 ? "%.1f %s" : "%.0f %s", nbytes,
                   units[u]);
}

char *transfer_line(uint64_t done, uint64_t total, uint64_t before, double seconds)
{
    double fraction = total > done ? (double)done / (double)total : 1;
    double rate = seconds > 0 ? (double)(done - before) / seconds : 0;
    char bar[PROGRESS_BAR_WIDTH + 1], moved[UPLOAD_SIZE_MAX], all[UPLOAD_SIZE_MAX],
        speed[UPLOAD_SIZE_MAX], left[TEXT_SECONDS_MAX] = "?";

    progress_bar(fraction, bar);
    upload_size((double)done, moved);
    upload_size((double)total, all);
    upload_size(rate, speed);
    if (rate > 0)
        text_seconds(total > done ? (double)(total - done) / rate : 0, left);
    return xasprintf("[%s] %3.0f%%, %s of %s, %s/s, %s left", bar, 100 * fraction, moved, all,
                     speed, left);
}

char *upload_line(uint64_t done, uint64_t total, double seconds)
{
    char bar[PROGRESS_BAR_WIDTH + 1], all[UPLOAD_SIZE_MAX];

    if (done < total)
        return transfer_line(done, total, 0, seconds);
    progress_bar(1, bar);
    upload_size((double)total, all);
    return xasprintf("[%s] 100%%, %s sent, waiting for the server", bar, all);
}

static ssize_t on_read(void *arg, void *to, size_t cap)
{
    struct sending *s = arg;
    ssize_t n = package_read(s->package, to, cap, &s->err);

    if (n < 0)
        return -1;
    hasher_add(s->sha256, to, (size_t)n);
    if (s->done == 0)
        s->from_ns = mono_ns(); /* whatever came before was waiting for 100-continue */
    s->done += (uint64_t)n;
    if (!s->quiet && (progress_due(&s->progress) || s->done == package_nbytes(s->package))) {
        AUTO(freep)
        char *line = upload_line(s->done, package_nbytes(s->package),
                                 (double)(mono_ns() - s->from_ns) / 1e9);

        if (s->progress.term->tty || progress_due(&s->progress))
            progress_draw(&s->progress, line);
    }
    return n;
}

/* What came back must be about what was sent. */
static int check(struct context *cx, struct sending *s, const json_t *upload)
{
    char ours[DIGEST_HEX_LEN + 1];
    struct digest digest;
    const char *theirs = field_text(upload, "sha256"), *id = field_text(upload, "id");

    hasher_finish(s->sha256, &digest);
    digest_hex(&digest, ours);
    if (*id && strcmp(ours, theirs) == 0)
        return EXIT_DONE;
    if (!*id) {
        (void)command_misused("the server answers, but not with an upload");
        return EXIT_SERVER;
    }
    upload_delete(cx, id);
    (void)command_misused("the server received other bytes than were sent: SHA-256 %s, not %s",
                          theirs, ours);
    return EXIT_SERVER;
}

static int send_package(struct context *cx, struct sending *s, json_t **upload)
{
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;
    AUTO(freep) char *name = http_escape(package_name(s->package));
    AUTO(freep) char *path = xasprintf("/v1/uploads?name=%s", name);
    const struct http_stream stream = {.content_type = package_is_tar(s->package)
                                                           ? "application/x-tar"
                                                           : "application/octet-stream",
                                       .nbytes = package_nbytes(s->package),
                                       .read = on_read,
                                       .arg = s};
    const struct http_request rq = {.method = "POST", .path = path, .stream = &stream};
    struct err err = {0};
    int r = http_call(cx->http, &rq, &reply, &err);

    progress_end(&s->progress);
    if (s->err.code)
        return command_failed_here(&s->err);
    if (r < 0)
        return command_failed(cx, &err);
    if (reply.status == 0)
        return command_interrupted();
    r = check(cx, s, reply.body);
    if (r == EXIT_DONE)
        *upload = TAKE(reply.body);
    return r;
}

int upload_path(struct context *cx, const char *path, bool quiet, json_t **upload)
{
    AUTO(package_freep) struct package *package = NULL;
    struct sending s = {.quiet = quiet};
    struct err err = {0};
    int status;

    if (package_open(path, &package, &err) < 0)
        return command_failed_here(&err);
    s.package = package;
    s.sha256 = hasher_new_sha256();
    progress_init(&s.progress, &cx->err);
    status = send_package(cx, &s, upload);
    hasher_free(s.sha256);
    return status;
}

void upload_delete(struct context *cx, const char *id)
{
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;
    AUTO(freep) char *escaped = http_escape(id);
    AUTO(freep) char *path = xasprintf("/v1/uploads/%s", escaped);
    const struct http_request rq = {.method = "DELETE", .path = path};
    struct err err = {0};

    (void)http_call(cx->http, &rq, &reply, &err);
}
