/* uploads_main.h: what the rest of the daemon needs of uploads. Private to daemon/. */
#ifndef SPECTRALD_UPLOADS_MAIN_H
#define SPECTRALD_UPLOADS_MAIN_H

#include "daemon/actor.h"
#include "daemon/uploads.h"

struct trash;

struct uploads {
    struct service *svc;
    struct actor *writer, *hasher; /* a body's pieces go to both */
    unsigned n_receiving;          /* begun, not yet ended */
    unsigned n_finishing;          /* from service_upload_end() to the commit */
    uint64_t stored;               /* bytes of complete contents */
    uint64_t reserved;             /* room promised to those being received */
    uint64_t awaited;              /* the part of it that has not arrived */
    struct trash *trash;           /* contents that no upload has any more */
    int64_t tidied_ns;
    bool tidying;
    struct metric *m_received, *m_ended, *m_bytes, *m_active;
};

/* Remove what an earlier run left half received and start the thread. Reads the store directly:
 * call it before the store thread starts. */
int uploads_new(struct uploads **out, struct service *s, struct store *st, struct err *err);
/* Stop the thread; bodies being received are dropped at the next start. */
void uploads_free(struct uploads *u);

/* Now and then: remove expired uploads. */
void uploads_tick(struct uploads *u);

/* For upload_in.c: a content that no upload has; remove what is such, when it may be; a content
 * that has an upload again; bytes of all contents. */
void uploads_put_trash(struct uploads *a, enum upload_kind kind, const struct digest *sha256);
void uploads_drop_trash(struct uploads *a);
void uploads_rescue(struct uploads *a, const struct upload_record *rec);
void uploads_set_stored(struct uploads *a, uint64_t bytes);

#endif
