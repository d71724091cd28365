/* http.c: see http.h. One easy handle driven by a multi handle, only because that can wait for
 * the interrupt descriptor at the same time. */
#include "cli/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/field.h"
#include "common/buf.h"

#define CONNECT_TIMEOUT_S 10L
#define ANSWER_TIMEOUT_S  120L
#define REPLY_MAX         ((size_t)1 << 30)

struct http_client {
    CURL *easy;
    CURLM *multi;
    char *base;        /* "http://127.0.0.1:8437", no slash at the end */
    char *socket_path; /* or NULL */
    char *shown;       /* as the user wrote it, for messages */
    int interrupt_fd;
    char error[CURL_ERROR_SIZE];
};

/* What arrives while a call runs. */
struct inbox {
    struct buf body;
    char etag[HTTP_ETAG_MAX];
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
    c->easy = curl_easy_init();
    c->multi = curl_multi_init();
    if (!c->easy || !c->multi)
        return err_set(err, ERR_NOMEM, "libcurl cannot start");
    *out = TAKE(c);
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->easy);
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

void http_reply_done(struct http_reply *r)
{
    json_decref(r->body);
    *r = (struct http_reply)HTTP_REPLY_INIT;
}

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
    struct inbox *in = arg;

    (void)one; /* always 1, says the manual */
    if (len > REPLY_MAX - in->body.len)
        return 0; /* makes libcurl fail the transfer */
    buf_put(&in->body, bytes, len);
    return len;
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
    static const char name[] = "ETag:";
    struct inbox *in = arg;
    size_t from = sizeof(name) - 1;
    size_t to = len;

    (void)one;
    if (len <= from || strncasecmp(line, name, from) != 0)
        return len;
    while (from < to && line[from] == ' ')
        from++;
    while (to > from && (line[to - 1] == '\r' || line[to - 1] == '\n' || line[to - 1] == ' '))
        to--;
    if (to - from < sizeof(in->etag)) {
        memcpy(in->etag, line + from, to - from);
        in->etag[to - from] = 0;
    }
    return len;
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

    add_header(&list, "Accept: application/json, application/problem+json");
    add_header(&list, "Expect:"); /* bodies are small: no round trip for 100-continue */
    /* Without a body nothing, rather than what libcurl assumes of a form. */
    add_header(&list, rq->body ? "Content-Type: application/json" : "Content-Type:");
    if (rq->wait_s > 0)
        add_header(&list, "Prefer: wait=%u", rq->wait_s);
    if (rq->if_none_match && *rq->if_none_match)
        add_header(&list, "If-None-Match: %s", rq->if_none_match);
    return list;
}

/* A proxy set for the outside world must not get in the way of the machine itself. */
static bool local_server(const struct http_client *c)
{
    static const char *const local[] = {"//127.", "//localhost", "//[::1]"};

    for (size_t i = 0; i < ARRAY_LEN(local); i++)
        if (strstr(c->base, local[i]))
            return true;
    return false;
}

static void prepare(struct http_client *c, const struct http_request *rq, const char *url,
                    const char *body, struct curl_slist *headers, struct inbox *in)
{
    CURL *e = c->easy;

    curl_easy_reset(e); /* keeps the connection */
    c->error[0] = 0;
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(e, CURLOPT_URL, url);
    (void)curl_easy_setopt(e, CURLOPT_USERAGENT, "spectralctl/" SPECTRALD_VERSION);
    (void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    (void)curl_easy_setopt(e, CURLOPT_TIMEOUT, ANSWER_TIMEOUT_S + (long)rq->wait_s);
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, in);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(e, CURLOPT_HEADERDATA, in);
    if (c->socket_path)
        (void)curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, c->socket_path);
    if (local_server(c))
        (void)curl_easy_setopt(e, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, rq->method);
    if (body || strcmp(rq->method, "POST") == 0)
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, body ? body : "");
}

/* Run the prepared transfer. CURLE_ABORTED_BY_CALLBACK: the interrupt descriptor is readable. */
static CURLcode run(struct http_client *c)
{
    struct curl_waitfd extra = {.fd = c->interrupt_fd, .events = CURL_WAIT_POLLIN};
    unsigned n_extra = c->interrupt_fd >= 0 ? 1 : 0;
    CURLcode result = CURLE_FAILED_INIT;
    int running = 1;

    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
        return CURLE_FAILED_INIT;
    for (;;) {
        CURLMsg *msg;
        int left;

        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            break;
        if (running == 0) {
            msg = curl_multi_info_read(c->multi, &left);
            if (msg && msg->msg == CURLMSG_DONE)
                result = msg->data.result;
            break;
        }
        if (extra.revents) {
            result = CURLE_ABORTED_BY_CALLBACK;
            break;
        }
        if (curl_multi_poll(c->multi, &extra, n_extra, 1000, NULL) != CURLM_OK)
            break;
    }
    (void)curl_multi_remove_handle(c->multi, c->easy);
    return result;
}

static int unreachable(const struct http_client *c, CURLcode code, struct err *err)
{
    const char *why = c->error[0] ? c->error : curl_easy_strerror(code);

    return err_set(err, ERR_IO, "no answer from %s: %s", c->shown, why);
}

/* Turn an error reply (RFC 9457, or anything else) into an error record. */
static int refused(long status, const json_t *problem, struct err *err)
{
    const char *detail = field_text(problem, "detail");
    const json_t *first = json_array_get(json_object_get(problem, "errors"), 0);
    const char *pointer = field_text(first, "pointer");
    const char *field = field_text(first, "detail");
    int code = status == 404                    ? ERR_NOT_FOUND
               : status == 409                  ? ERR_CONFLICT
               : status == 429 || status == 503 ? ERR_BUSY
                                                : ERR_INVALID;

    if (!*detail)
        detail = *field_text(problem, "title") ? field_text(problem, "title") : "no reason given";
    if (*field && strcmp(field, detail) != 0)
        return err_set_at(err, code, pointer, "%s: %s (HTTP %ld)", detail, field, status);
    return err_set_at(err, code, pointer, "%s (HTTP %ld)", detail, status);
}

static int read_reply(struct http_client *c, const struct inbox *in, struct http_reply *out,
                      struct err *err)
{
    json_auto_t *body = NULL;
    long status = 0;

    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (in->body.len > 0)
        body = json_loadb((const char *)in->body.data, in->body.len, JSON_ALLOW_NUL, NULL);
    if (status >= 400)
        return refused(status, body, err);
    if (status < 200 || (status >= 300 && status != 304) || (in->body.len > 0 && !body))
        return err_set(err, ERR_UNSUPPORTED, "%s answers (HTTP %ld), but not as spectrald does",
                       c->shown, status);
    out->status = status;
    out->body = TAKE(body);
    memcpy(out->etag, in->etag, sizeof(out->etag));
    return 0;
}

int http_call(struct http_client *c, const struct http_request *rq, struct http_reply *out,
              struct err *err)
{
    AUTO(freep) char *url = xasprintf("%s%s", c->base, rq->path);
    AUTO(freep) char *body = rq->body ? json_dumps(rq->body, JSON_COMPACT) : NULL;
    struct inbox in = {.body = BUF_INIT};
    struct curl_slist *headers = headers_of(rq);
    CURLcode code;
    int r;

    prepare(c, rq, url, body, headers, &in);
    code = run(c);
    curl_slist_free_all(headers);
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        out->status = 0;
        r = 0;
    } else if (code != CURLE_OK) {
        r = unreachable(c, code, err);
    } else {
        r = read_reply(c, &in, out, err);
    }
    buf_done(&in.body);
    return r;
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
