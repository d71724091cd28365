/* role_reader.c: parse one untrusted file, return a flat table, exit.
 *
 * Request: u8 kind, u64 file size; one descriptor. Reply: a sealed memory file with the table.
 */
#include "daemon/worker.h"

#include "common/fdio.h"
#include "models/adapter.h"
#include "models/calibration.h"
#include "models/hf.h"
#include "models/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The whole of a side file, at most `limit` bytes. */
static int slurp(int fd, uint64_t size, uint64_t limit, const char *what, struct buf *out,
                 struct err *err)
{
    if (size > limit)
        return err_set(err, ERR_LIMIT, "%s has %llu bytes, the limit is %llu", what,
                       (unsigned long long)size, (unsigned long long)limit);
    out->data = xrealloc(out->data, (size_t)size + 1);
    out->cap = (size_t)size + 1;
    out->len = (size_t)size;
    return fd_pread_all(fd, out->data, out->len, 0, err);
}

static int inspect_safetensors(int fd, uint64_t size, struct buf *out, struct err *err)
{
    struct tensor_table tt = TENSOR_TABLE_INIT;
    int r = safetensors_read(fd, size, &tt, err);

    if (r == 0)
        tensor_table_write(&tt, out);
    tensor_table_done(&tt);
    return r;
}

static int inspect_index(int fd, uint64_t size, struct buf *out, struct err *err)
{
    struct hf_index ix = HF_INDEX_INIT;
    struct buf text = BUF_INIT;
    int r = slurp(fd, size, HF_INDEX_BYTES_MAX, "the index file", &text, err);

    if (r == 0)
        r = hf_index_parse((const char *)text.data, text.len, &ix, err);
    if (r == 0)
        hf_index_write(&ix, out);
    hf_index_done(&ix);
    buf_done(&text);
    return r;
}

static int inspect_config(int fd, uint64_t size, struct buf *out, struct err *err)
{
    struct hf_config config;
    struct buf text = BUF_INIT;
    int r = slurp(fd, size, HF_CONFIG_BYTES_MAX, "config.json", &text, err);

    if (r == 0)
        r = hf_config_parse((const char *)text.data, text.len, &config, err);
    if (r == 0)
        hf_config_write(&config, out);
    buf_done(&text);
    return r;
}

static int inspect_adapter_config(int fd, uint64_t size, struct buf *out, struct err *err)
{
    AUTO(adapter_config_done) struct adapter_config c = {.alpha = 0};
    AUTO(buf_done) struct buf text = BUF_INIT;
    int r = slurp(fd, size, ADAPTER_CONFIG_BYTES_MAX, ADAPTER_CONFIG_NAME, &text, err);

    if (r == 0)
        r = adapter_config_parse((const char *)text.data, text.len, &c, err);
    if (r == 0)
        adapter_config_write(&c, out);
    return r;
}

static int inspect_calibration(int fd, uint64_t size, struct buf *out, struct err *err)
{
    struct calibration c;
    int r = calibration_read(fd, size, &c, err);

    if (r < 0)
        return r;
    calibration_write(&c, out);
    calibration_done(&c);
    return 0;
}

static int reply_bytes(const struct buf *b, struct wire_reply *reply, struct err *err)
{
    int r = b->len ? memfd_of("table", b->data, b->len, &reply->fd[0], err)
                   : memfd_of("table", "", 1, &reply->fd[0], err);

    if (r < 0)
        return r;
    buf_put_u64(&reply->body, b->len);
    reply->n_fds = 1;
    return 0;
}

static int handle_inspect(void *state, const struct wire_message *m, struct wire_reply *reply,
                          struct err *err)
{
    struct buf out = BUF_INIT;
    struct reader r;
    uint8_t kind;
    uint64_t size;
    int rc;

    (void)state;
    reader_init(&r, m->body.data, m->body.len);
    kind = reader_u8(&r);
    size = reader_u64(&r);
    if (m->type != WIRE_INSPECT || !reader_ok(&r) || m->n_fds != 1)
        return wire_bad_task(err);
    switch ((enum inspect_kind)kind) {
    case INSPECT_SAFETENSORS:
        rc = inspect_safetensors(m->fd[0], size, &out, err);
        break;
    case INSPECT_HF_INDEX:
        rc = inspect_index(m->fd[0], size, &out, err);
        break;
    case INSPECT_HF_CONFIG:
        rc = inspect_config(m->fd[0], size, &out, err);
        break;
    case INSPECT_CALIBRATION:
        rc = inspect_calibration(m->fd[0], size, &out, err);
        break;
    case INSPECT_ADAPTER_CONFIG:
        rc = inspect_adapter_config(m->fd[0], size, &out, err);
        break;
    default:
        rc = err_set(err, ERR_INTERNAL, "unknown kind of file %u", kind);
    }
    if (rc == 0)
        rc = reply_bytes(&out, reply, err);
    buf_done(&out);
    return rc;
}

int role_reader(void)
{
    struct buf hello = BUF_INIT;
    int status = worker_serve(handle_inspect, NULL, &hello, true);

    buf_done(&hello);
    return status;
}
