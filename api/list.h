/* list.h: the list calls, newest first and a page at a time: filters, cursors, the envelope and its
 * Link. What an ep_*.c adds is where entries come from and how one is written.
 */
#ifndef SPECTRALD_LIST_H
#define SPECTRALD_LIST_H

#include "api/page.h"
#include "api/request.h"
#include "daemon/labels.h"

enum list_filter { LIST_BY_STATE = 1, LIST_BY_KIND = 2, LIST_BY_LABEL = 4, LIST_BY_MODEL = 8 };

/* What a request asks for. */
struct list_query {
    int state;        /* enum job_state or -1 */
    const char *kind; /* or NULL */
    struct page_query page;
};

/* A page that is being written. */
struct list_page;

struct list_kind {
    const char *name; /* "jobs": of the list in the reply, and of its URL under /v1/ */
    unsigned filters; /* a set of enum list_filter; the query may hold nothing else */
    /* Store thread: find what comes after the query's cursor, up to its limit, and for each entry
     * in turn list_entry(). The error of the store. */
    int (*find)(struct store *st, const struct list_query *q, struct list_page *page,
                struct err *err);
};

/* Where the JSON of the next entry goes, or NULL when it is for another page. */
struct buf *list_entry(struct list_page *page, int64_t created_ms, const char *id);

/* Answer a list call. */
struct reply *list_handle(struct request *rq, const struct list_kind *kind);

#endif
