/* fuzz_tar.c: an archive, whole and in pieces: the same files must come out. The checksum of each
 * header is set right first, because no fuzzer guesses it. */
#include "models/tar_stream.h"

#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int begin(void *arg, const char *name, uint64_t size, struct err *err)
{
    (void)err;
    ASSERT(*name && *name != '/' && strlen(name) <= TAR_NAME_MAX);
    for (const char *p = name; *p; p += strcspn(p, "/"), p += *p == '/') {
        size_t n = strcspn(p, "/");

        ASSERT(n > 0 && n <= TAR_COMPONENT_MAX && strncmp(p, "..", n > 2 ? n : 2) != 0);
        ASSERT(n != 1 || *p != '.');
    }
    buf_printf(arg, "\n%s %llu\n", name, (unsigned long long)size);
    return 0;
}

static int data_in(void *arg, const void *bytes, size_t len, struct err *err)
{
    (void)err;
    buf_put(arg, bytes, len);
    return 0;
}

static int end(void *arg, struct err *err)
{
    (void)err;
    buf_printf(arg, "\nend\n");
    return 0;
}

static int run(const uint8_t *data, size_t size, size_t step, struct buf *out)
{
    const struct tar_sink sink = {begin, data_in, end, out};
    struct tar_stream *t = tar_stream_new(&sink);
    struct err err;
    int r = 0;

    for (size_t at = 0; r == 0 && at < size; at += step)
        r = tar_stream_add(t, data + at, size - at < step ? size - at : step, &err);
    if (r == 0)
        r = tar_stream_end(t, &err);
    tar_stream_free(t);
    return r;
}

static void mend_checksum(uint8_t *block)
{
    unsigned sum = 0;

    memset(block + 148, ' ', 8);
    for (size_t i = 0; i < 512; i++)
        sum += block[i];
    snprintf((char *)block + 148, 8, "%06o", sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(buf_done) struct buf whole = BUF_INIT;
    AUTO(buf_done) struct buf pieces = BUF_INIT;
    uint8_t *copy = xmalloc(size + 1);
    int r, again;

    memcpy(copy, data, size);
    for (size_t at = 0; at + 512 <= size; at += 512)
        if (memcmp(copy + at + 257, "ustar", 5) == 0)
            mend_checksum(copy + at);
    r = run(copy, size, size + 1, &whole);
    again = run(copy, size, 7, &pieces);
    ASSERT(r == again);
    ASSERT(r < 0 || (whole.len == pieces.len && memcmp(whole.data, pieces.data, whole.len) == 0));
    free(copy);
    return 0;
}
