/* artifact_stream.c: see artifact_stream.h. */
#include "api/artifact_stream.h"

#include <stdlib.h>
#include <string.h>

struct artifact_stream {
    struct artifact_stream *next, **link;
    struct api *api;
    struct MHD_Connection *mhd;
    struct artifact_tar *tar;
    const uint8_t *piece; /* borrowed */
    size_t len, at;
    bool waiting, failed;
};

static void on_piece(void *arg, const uint8_t *bytes, size_t len)
{
    struct artifact_stream *s = arg;

    s->failed = len == 0;
    s->piece = bytes;
    s->len = len;
    s->at = 0;
    s->waiting = false;
    MHD_resume_connection(s->mhd);
}

static ssize_t on_read(void *arg, uint64_t pos, char *to, size_t max)
{
    struct artifact_stream *s = arg;
    size_t n = s->len - s->at < max ? s->len - s->at : max;

    (void)pos; /* what follows what was read last */
    if (s->failed || s->api->stopping)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0) {
        s->waiting = true;
        MHD_suspend_connection(s->mhd);
        artifact_tar_next(s->tar, on_piece, s);
        return 0;
    }
    memcpy(to, s->piece + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

static void on_gone(void *arg)
{
    struct artifact_stream *s = arg;

    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    artifact_tar_close(s->tar);
    free(s);
}

struct reply *artifact_stream_reply(struct request *rq, struct artifact_tar *tar)
{
    struct artifact_stream *s = xcalloc(1, sizeof *s);

    *s = (struct artifact_stream){.next = rq->api->streams,
                                  .link = &rq->api->streams,
                                  .api = rq->api,
                                  .mhd = rq->mhd,
                                  .tar = tar};
    if (s->next)
        s->next->link = &s->next;
    rq->api->streams = s;
    return reply_made(200, "application/x-tar", artifact_tar_size(tar), on_read, on_gone, s);
}

void artifact_streams_stop(struct api *api)
{
    for (struct artifact_stream *s = api->streams; s; s = s->next) {
        if (!s->waiting)
            continue;
        s->waiting = false;
        s->failed = true;
        MHD_resume_connection(s->mhd);
    }
}
