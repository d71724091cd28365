/* immutable.h: replies that never change: tables, layers and spectra of finished analyses.
 *
 * The first request for one has it made: read on the store thread, written and compressed on the
 * writer thread. After that it is served from memory (doc_cache.h) by the loop thread alone. What
 * tells documents apart is the request target as sent, the media type chosen by Accept, and
 * whether gzip may be used.
 */
#ifndef SPECTRALD_IMMUTABLE_H
#define SPECTRALD_IMMUTABLE_H

#include "api/request.h"

/* One form of a resource. */
struct immutable_form {
    const char *word;  /* for ?format= */
    const char *offer; /* media type, for Accept */
    const char *type;  /* Content-Type of the reply */
};
#define IMMUTABLE_FORMS_MAX 8

/* What this request would like. */
struct immutable_wish {
    int offer; /* index of the form chosen by Accept, or -1: none of ours */
    bool gzip;
};

/* A document as it is written. */
struct immutable_text {
    const char *type; /* static */
    struct buf body;
    char *link; /* value of a Link header, malloc'ed, or NULL */
};

/* How a document is made from `work`. Both return NULL, or why there is none. */
struct immutable_ops {
    struct reply *(*read)(void *work, struct store *st);            /* on the store thread */
    struct reply *(*write)(void *work, struct immutable_text *out); /* on the writer thread */
    void (*free)(void *work);                                       /* on any thread */
};

/* What Accept and Accept-Encoding say of these forms. */
void immutable_wish_read(const struct request *rq, const struct immutable_form *form, size_t n,
                         struct immutable_wish *wish);

/* The reply, when it is in memory (or 304 when the client has it); else NULL and *wish. `form`:
 * the forms of this resource, the usual one first. */
struct reply *immutable_find(struct request *rq, const struct immutable_form *form, size_t n,
                             struct immutable_wish *wish);

/* Which form: what ?format= says, or else Accept. NULL and *out; 400 or 406 otherwise. */
struct reply *immutable_choose(struct request *rq, const struct immutable_form *form, size_t n,
                               const struct immutable_wish *wish,
                               const struct immutable_form **out);

/* Both of a resource that is JSON only: NULL and *wish, or the reply. */
#define IMMUTABLE_JSON "application/json"
struct reply *immutable_find_json(struct request *rq, struct immutable_wish *wish);

/* Make the document, keep it, and answer with it. Takes `work`. Returns reply_suspend(). Some are
 * made at a time; the others wait. */
struct reply *immutable_make(struct request *rq, const struct immutable_wish *wish,
                             const struct immutable_ops *ops, void *work);

/* The same for what takes long to read, or may change. */
struct immutable_manner {
    bool (*more)(const void *work); /* read() is to be called again; NULL: once is enough */
    bool slow;                      /* writing takes seconds: on the fitter thread */
    bool changes;                   /* it depends on labels: made for every request, never kept */
};
struct reply *immutable_make_so(struct request *rq, const struct immutable_wish *wish,
                                const struct immutable_ops *ops,
                                const struct immutable_manner *manner, void *work);

/* With the server; immutable_stop() after every request was answered. */
void immutable_start(struct api *api);
void immutable_stop(struct api *api);

#endif
