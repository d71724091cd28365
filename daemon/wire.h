/* wire.h: the protocol between the control process and its workers.
 *
 * One SOCK_SEQPACKET message per request and reply, on fd 3 of the worker. Files travel as
 * descriptors (SCM_RIGHTS), bulk data as sealed memory files, so a worker never needs a path.
 * Every message starts with a version, a type and a task number. The control process treats every
 * reply as hostile: sizes are bounded, versions and types checked, numbers validated.
 */
#ifndef SPECTRALD_WIRE_H
#define SPECTRALD_WIRE_H

#include "common/buf.h"
#include "common/err.h"

#define WIRE_VERSION   1
#define WIRE_FD        3     /* the worker's end */
#define WIRE_BYTES_MAX 65536 /* of one message; below the default socket buffer */
#define WIRE_FDS_MAX   16

enum wire_type {
    WIRE_HELLO = 1, /* worker -> control, once: "I am ready" */
    WIRE_INSPECT,   /* reader: parse one file */
    WIRE_DIGEST,    /* compute: digest byte ranges of one file (magnitude_task.h) */
    WIRE_MAGNITUDE, /* compute: histograms of one range of weights (magnitude_task.h) */
    WIRE_GRAM,      /* compute: Gram matrix of one line range */
    WIRE_SPECTRUM,  /* compute: all eigenvalues of one layer, and its metrics */
    WIRE_FIT,       /* compute: metrics from a cached spectrum */
    WIRE_FARMS,     /* compute: eigenvalues of windows (farms_task.h) */
    WIRE_FARMS_FIT, /* compute: the exponent of all of them */
    WIRE_MEASURE,   /* compute: what else is asked of a spectrum (measure_task.h) */
    WIRE_PRUNE,     /* compute: one matrix, pruned (prune_task.h) */
    WIRE_ACTIVITY,  /* compute: sums of scores of one matrix (activity_task.h) */
    WIRE_SQUARES,   /* compute: sums of squares of one matrix's rows or columns (squares_task.h) */
    WIRE_DECODE,    /* compute: one matrix, made dense (decode_task.h) */
    WIRE_SMOOTH,    /* compute: one matrix, of lower rank (smooth_task.h) */
    WIRE_DISTANCE,  /* compute: how far apart two tensors are (distance_task.h) */
    WIRE_DONE,      /* worker -> control: the task's result follows */
    WIRE_FAILED,    /* worker -> control: an error code and text follow */
};

/* What a reader is asked to parse. */
enum inspect_kind {
    INSPECT_SAFETENSORS = 0,
    INSPECT_HF_INDEX,
    INSPECT_HF_CONFIG,
    INSPECT_CALIBRATION,
    INSPECT_ADAPTER_CONFIG
};

struct wire_message {
    uint32_t type;
    uint64_t task;
    struct buf body;      /* owned */
    int fd[WIRE_FDS_MAX]; /* owned */
    size_t n_fds;
};

/* Refuse a task that the control process would not send. */
int wire_bad_task(struct err *err);

/* Close descriptors and release the body. */
void wire_message_done(struct wire_message *m);

/* Send; descriptors are borrowed. ERR_LIMIT when the body is too large, ERR_CRASHED when the
 * peer is gone, ERR_BUSY when the socket is full (control only: the socket does not block). */
int wire_send(int sock, uint32_t type, uint64_t task, const void *body, size_t len, const int *fds,
              size_t n_fds, struct err *err);

/* Receive one message. ERR_NOT_FOUND at end of file, ERR_BUSY when nothing is there (non-blocking
 * sockets), ERR_CRASHED when the message breaks the protocol. */
int wire_receive(int sock, struct wire_message *out, struct err *err);

/* The matrix of one layer inside a file: element (s, r, c) lies at
 * offset + (s * slice_stride + r * row_stride + c * col_stride) * bits / 8. */
struct wire_matrix {
    uint32_t dtype; /* enum dtype */
    uint64_t offset, nbytes;
    uint64_t rows, cols, n_slices;
    uint64_t row_stride, col_stride, slice_stride;
};
void wire_put_matrix(struct buf *b, const struct wire_matrix *m);
/* Reads and validates: every element inside [offset, offset + nbytes), no overflow. */
int wire_get_matrix(struct reader *r, struct wire_matrix *out, struct err *err);

#endif
