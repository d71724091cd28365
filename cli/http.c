/* http.c: see http.h. An easy handle per call, all driven by one multi handle, which keeps the
 * connections and can wait for the interrupt descriptor at the same time. */
#include "cli/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/http_reply.h"
#include "common/ident.h"

#define CONNECT_TIMEOUT_S 10L
#define ANSWER_TIMEOUT_S  120L
#define STALL_TIMEOUT_S   600L /* an upload is synced to the server's disk at its end */
#define STREAM_BUFFER     (512L << 10)
#define REPLY_MAX         ((size_t)1 << 30)

struct http_client {
    CURLM *multi;
    char *base;        /* "http://127.0.0.1:8437", no slash at the end */
    char *socket_path; /* or NULL */
    char *shown;       /* as the user wrote it, for messages */
    int interrupt_fd;
};

struct http_transfer {
    struct http_client *client;
    CURL *easy;
    CURLcode result;
    struct curl_slist *headers;
    char *url, *text; /* text: the JSON body, or NULL */
    const struct http_stream *stream;
    const struct http_sink *sink;
    void *tag;
    bool as_bytes;
    struct buf bytes; /* what arrived */
    struct http_reply reply;
    char error[CURL_ERROR_SIZE];
};

static char *without_slash(char *url)
{
    size_t len = strlen(url);

    while (len > 0 && url[len - 1] == '/')
        url[--len] = 0;
    return url;
}

int http_client_new(const char *server, struct http_client **out, struct err *err)
{
    AUTO(http_client_freep) struct http_client *c = xcalloc(1, sizeof(*c));

    if (!*server || strcmp(server, "unix:") == 0)
        return err_set(err, ERR_INVALID, "the server address is empty");
    c->interrupt_fd = -1;
    c->shown = xstrdup(server);
    if (strncmp(server, "unix:", 5) == 0) {
        c->socket_path = xstrdup(server + 5);
        c->base = xstrdup("http://localhost");
    } else if (strstr(server, "://")) {
        c->base = without_slash(xstrdup(server));
    } else {
        c->base = without_slash(xasprintf("http://%s", server));
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, ERR_INTERNAL, "libcurl cannot start");
    c->multi = curl_multi_init();
    if (!c->multi)
        return err_set(err, ERR_NOMEM, "libcurl cannot start");
    *out = TAKE(c);
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    (void)curl_multi_cleanup(c->multi);
    free(c->base);
    free(c->socket_path);
    free(c->shown);
    free(c);
}

void http_client_set_interrupt(struct http_client *c, int fd)
{
    c->interrupt_fd = fd;
}

bool http_client_is_local(const struct http_client *c)
{
    const char *host = strstr(c->base, "://");
    size_t len;

    if (c->socket_path)
        return true;
    host = host ? host + 3 : c->base;
    len = strcspn(host, ":/");
    return strncmp(host, "[::1]", 5) == 0 || strncmp(host, "127.", 4) == 0 ||
           (len == 9 && strncmp(host, "localhost", 9) == 0);
}

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
    struct http_transfer *t = arg;
    long status = 0;

    (void)one; /* always 1, says the manual */
    if (t->sink)
        (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300)
        return t->sink->write(t->sink->arg, status, bytes, len) ? len : 0;
    if (len > REPLY_MAX - t->bytes.len)
        return 0; /* makes libcurl fail the transfer */
    buf_put(&t->bytes, bytes, len);
    return len;
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
    struct http_transfer *t = arg;

    (void)one;
    http_reply_header(&t->reply, line, len);
    return len;
}

static size_t on_read(char *to, size_t one, size_t cap, void *arg)
{
    const struct http_transfer *t = arg;
    ssize_t n = t->stream->read(t->stream->arg, to, one * cap);

    return n < 0 ? CURL_READFUNC_ABORT : (size_t)n;
}

static void add_header(struct curl_slist **list, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void add_header(struct curl_slist **list, const char *fmt, ...)
{
    struct curl_slist *longer;
    char line[256];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    longer = curl_slist_append(*list, line);
    ASSERT(longer != NULL);
    *list = longer;
}

static struct curl_slist *headers_of(const struct http_request *rq)
{
    struct curl_slist *list = NULL;

    add_header(&list, "Accept: %s, application/problem+json",
               rq->accept ? rq->accept
               : rq->sink ? "*/*"
                          : "application/json");
    if (rq->sink && rq->sink->from > 0) {
        add_header(&list, "Range: bytes=%llu-", (unsigned long long)rq->sink->from);
        add_header(&list, "If-Range: %s", rq->sink->if_range);
    }
    /* Small bodies: no round trip for 100-continue. */
    add_header(&list, rq->stream ? "Expect: 100-continue" : "Expect:");
    /* Without a body nothing, rather than what libcurl assumes of a form. */
    if (rq->stream)
        add_header(&list, "Content-Type: %s", rq->stream->content_type);
    else
        add_header(&list, rq->body ? "Content-Type: application/json" : "Content-Type:");
    if (rq->wait_s > 0)
        add_header(&list, "Prefer: wait=%u", rq->wait_s);
    if (rq->if_none_match && *rq->if_none_match)
        add_header(&list, "If-None-Match: %s", rq->if_none_match);
    if (rq->if_match && *rq->if_match)
        add_header(&list, "If-Match: %s", rq->if_match);
    return list;
}

static void prepare_stream(struct http_transfer *t)
{
    CURL *e = t->easy;

    (void)curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
    (void)curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->stream->nbytes);
    (void)curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
    (void)curl_easy_setopt(e, CURLOPT_READDATA, t);
    (void)curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, STREAM_BUFFER);
    /* A stream cannot be sent twice: no connection that may turn out to be closed. */
    (void)curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
}

/* However long it takes, as long as it goes on. */
static void prepare_long(CURL *e)
{
    (void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, STALL_TIMEOUT_S);
}

static void prepare(struct http_transfer *t, const struct http_request *rq)
{
    CURL *e = t->easy;

    (void)curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->error);
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(e, CURLOPT_URL, t->url);
    (void)curl_easy_setopt(e, CURLOPT_USERAGENT, "spectralctl/" SPECTRALD_VERSION);
    (void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->headers);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    if (!t->sink)
        (void)curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, ""); /* whatever libcurl can unpack */
    if (t->client->socket_path)
        (void)curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, t->client->socket_path);
    /* A proxy set for the outside world must not get in the way of the machine itself. */
    if (http_client_is_local(t->client))
        (void)curl_easy_setopt(e, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, rq->method);
    if (t->stream || t->sink)
        prepare_long(e);
    if (t->stream)
        prepare_stream(t);
    if (t->stream || t->sink)
        return;
    (void)curl_easy_setopt(e, CURLOPT_TIMEOUT, ANSWER_TIMEOUT_S + (long)rq->wait_s);
    if (t->text || strcmp(rq->method, "POST") == 0)
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, t->text ? t->text : "");
}

struct http_transfer *http_begin(struct http_client *c, const struct http_request *rq, void *tag)
{
    struct http_transfer *t = xcalloc(1, sizeof(*t));
    CURLMcode r;

    t->client = c;
    t->tag = tag;
    t->stream = rq->stream;
    t->sink = rq->sink;
    t->as_bytes = rq->accept != NULL;
    t->url = xasprintf("%s%s", c->base, rq->path);
    t->text = rq->body ? json_dumps(rq->body, JSON_COMPACT) : NULL;
    t->headers = headers_of(rq);
    t->easy = curl_easy_init();
    ASSERT(t->easy);
    prepare(t, rq);
    r = curl_multi_add_handle(c->multi, t->easy);
    ASSERT(r == CURLM_OK);
    return t;
}

void http_abandon(struct http_transfer *t)
{
    (void)curl_multi_remove_handle(t->client->multi, t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    buf_done(&t->bytes);
    http_reply_done(&t->reply);
    free(t->url);
    free(t->text);
    free(t);
}

void *http_tag(const struct http_transfer *t)
{
    return t->tag;
}

/* A call that ended, or NULL. */
static struct http_transfer *take_ended(struct http_client *c)
{
    struct http_transfer *t = NULL;
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(c->multi, &left))) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        t->result = msg->data.result;
        return t;
    }
    return NULL;
}

bool http_next(struct http_client *c, int timeout_ms, struct http_transfer **ended)
{
    struct curl_waitfd extra = {.fd = c->interrupt_fd, .events = CURL_WAIT_POLLIN};
    unsigned n_extra = c->interrupt_fd >= 0 ? 1 : 0;
    int64_t until = mono_ns() + (int64_t)timeout_ms * 1000000;
    int running;

    *ended = NULL;
    for (;;) {
        int64_t left_ms = timeout_ms < 0 ? 1000 : (until - mono_ns()) / 1000000;

        (void)curl_multi_perform(c->multi, &running);
        *ended = take_ended(c);
        if (*ended || left_ms < 0)
            return false;
        if (curl_multi_poll(c->multi, &extra, n_extra, left_ms < 1000 ? (int)left_ms : 1000,
                            NULL) != CURLM_OK)
            return false;
        if (extra.revents)
            return true;
        if (left_ms == 0)
            return false;
    }
}

int http_end(struct http_transfer *t, struct http_reply *out, struct err *err)
{
    const char *server = t->client->shown;
    long status = 0;
    int r;

    if (t->result != CURLE_OK) {
        r = err_set(err, ERR_IO, "no answer from %s: %s", server,
                    t->error[0] ? t->error : curl_easy_strerror(t->result));
    } else {
        (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        r = http_reply_finish(&t->reply, status, &t->bytes, t->as_bytes, server, err);
    }
    if (r == 0) {
        *out = t->reply;
        t->reply = (struct http_reply)HTTP_REPLY_INIT;
    }
    http_abandon(t);
    return r;
}

int http_call(struct http_client *c, const struct http_request *rq, struct http_reply *out,
              struct err *err)
{
    struct http_transfer *t = http_begin(c, rq, NULL), *ended;

    do {
        if (http_next(c, -1, &ended)) {
            http_abandon(t);
            *out = (struct http_reply)HTTP_REPLY_INIT;
            return 0;
        }
    } while (ended != t);
    return http_end(t, out, err);
}

char *http_escape(const char *s)
{
    struct buf b = BUF_INIT;

    for (; *s; s++) {
        unsigned char ch = (unsigned char)*s;

        if ((ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
            strchr("-._~", ch))
            buf_put_u8(&b, ch);
        else
            buf_printf(&b, "%%%02X", ch);
    }
    buf_put_u8(&b, 0);
    return (char *)b.data;
}
