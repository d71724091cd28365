/* upload_in.h: a body being received. Private to upload_in.c and upload_end.c.
 *
 * Three threads see it. The writer thread owns its files, the hasher thread its digest, the loop
 * the rest. Every message to the two is counted, and the last one that returns frees the upload.
 */
#ifndef SPECTRALD_UPLOAD_IN_H
#define SPECTRALD_UPLOAD_IN_H

#include "daemon/uploads_main.h"
#include "storage/upload_files.h"

struct upload_in {
    struct uploads *all;
    struct upload_record rec;
    struct digest want;
    bool has_want, ended, failed, aborted;
    uint64_t received, reserved;
    struct buf chunk;
    unsigned under_way; /* messages not yet returned */
    bool held_back;
    char *key;      /* idempotency key, or NULL */
    struct err err; /* what the client is told */
    void (*ready)(void *arg);
    void *ready_arg;
    upload_cb *cb;
    void *cb_arg;
    /* the writer thread's */
    struct upload_writer *writer;
    struct err writer_err;
    struct upload_content content;
    /* the hasher thread's */
    struct hasher *hasher;
};

/* Remember the first error, as the client is told. */
void upload_in_fail(struct upload_in *u, const struct err *err);

/* Send what was gathered to the two threads. */
void upload_in_send(struct upload_in *u);

/* Nothing more comes: release its room, its key and its files. */
void upload_in_end(struct upload_in *u);

#endif
