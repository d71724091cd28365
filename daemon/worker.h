/* worker.h: the roles of the binary that do not serve anybody but the control process.
 *
 * Every role has the same skeleton: tie its life to the parent's, say hello, then answer one
 * message after another on fd 3 until end of file.
 */
#ifndef SPECTRALD_WORKER_H
#define SPECTRALD_WORKER_H

#include "daemon/wire.h"

/* A role's work: handle `m` and fill the reply. Descriptors put into reply_fd are closed after
 * sending. A negative return is sent to the control process as a failed task. */
struct wire_reply {
    struct buf body;
    int fd[2];
    size_t n_fds;
};
typedef int worker_handler(void *state, const struct wire_message *m, struct wire_reply *reply,
                           struct err *err);

/* Serve on WIRE_FD until the control process closes it; `one_task` ends after one message.
 * Returns the exit status. `hello` is the body of the first message. */
int worker_serve(worker_handler *handle, void *state, const struct buf *hello, bool one_task);

/* The roles; each is a main() of its own. */
int role_reader(void);
int role_compute(void);

#endif
