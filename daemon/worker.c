/* worker.c: the skeleton shared by all worker roles. */
#include "daemon/worker.h"

#include "common/fdio.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Die with the control process, and be the first that the kernel's OOM killer picks. */
static void tie_to_parent(void)
{
    int fd;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGINT, SIG_IGN); /* a terminal's ^C is for the control process */
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "500", 3);
        (void)close(fd);
    }
}

static int answer(worker_handler *handle, void *state, const struct wire_message *m)
{
    struct wire_reply reply = {.body = BUF_INIT, .fd = {-1, -1}};
    struct err err = {0};
    int r = handle(state, m, &reply, &err);

    if (r < 0) {
        buf_reset(&reply.body);
        buf_put_u32(&reply.body, (uint32_t)-r);
        buf_put_str(&reply.body, err.text, strnlen(err.text, sizeof err.text));
        r = wire_send(WIRE_FD, WIRE_FAILED, m->task, reply.body.data, reply.body.len, NULL, 0,
                      NULL);
    } else {
        r = wire_send(WIRE_FD, WIRE_DONE, m->task, reply.body.data, reply.body.len, reply.fd,
                      reply.n_fds, NULL);
    }
    for (size_t i = 0; i < ARRAY_LEN(reply.fd); i++)
        fd_close(&reply.fd[i]);
    buf_done(&reply.body);
    return r;
}

int worker_serve(worker_handler *handle, void *state, const struct buf *hello, bool one_task)
{
    struct wire_message m;

    tie_to_parent();
    if (wire_send(WIRE_FD, WIRE_HELLO, 0, hello->data, hello->len, NULL, 0, NULL) < 0)
        return 1;
    do {
        int r = wire_receive(WIRE_FD, &m, NULL);

        if (r < 0)
            return r == ERR_NOT_FOUND ? 0 : 1;
        r = answer(handle, state, &m);
        wire_message_done(&m);
        if (r < 0)
            return 1;
    } while (!one_task);
    return 0;
}
