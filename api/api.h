/* api.h: the state of the HTTP side, private to this folder. Loop thread only. */
#ifndef SPECTRALD_API_H
#define SPECTRALD_API_H

#include <microhttpd.h>

#include "api/listen.h"
#include "api/page.h"
#include "daemon/actor.h"
#include "daemon/service.h"

struct artifact_stream;
struct conn;
struct doc_cache;
struct gate;
struct maker;
struct plans;
struct request;

struct api {
    struct service *svc;
    struct loop *loop;
    const struct config *config;
    struct listener listener;
    struct MHD_Daemon *mhd;
    int epoll_fd;         /* the library's own, watched by our loop */
    struct actor *parser; /* parse.c */
    struct actor *writer; /* immutable.c, and compression */
    struct actor *fitter; /* decision.c: fits that may take seconds */
    struct doc_cache *docs;
    struct maker *maker; /* immutable.c */
    struct page_key page_key;
    struct conn *conns; /* conn.c */
    struct loop_timer *sweep;
    struct request *requests;        /* request.c: from request line to completion */
    struct artifact_stream *streams; /* artifact_stream.c */
    size_t body_bytes;               /* of unfinished requests, all together */
    struct gate *series, *decisions, *fits;
    struct plans *plans; /* ep_plans.c */
    bool stopping;
    struct metric *m_requests, *m_duration, *m_connections;
};

#endif
