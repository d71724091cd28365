/* tar.c: see tar.h. */
#include "common/tar.h"

#include <stdio.h>
#include <string.h>

#define NAME_MAX_USTAR 100
#define SIZE_MAX_USTAR ((UINT64_C(1) << 33) - 1) /* eleven octal digits */

/* A ustar header block: fields are text, see pax(1). */
struct block {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, linkname[100],
        magic[6], version[2], owner[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct block) == TAR_BLOCK, "a header is one block");

static void put_block(struct buf *out, const char *name, char type, uint64_t nbytes, uint64_t mtime)
{
    struct block b = {.mode = "0000644",
                      .uid = "0000000",
                      .gid = "0000000",
                      .type = type,
                      .magic = "ustar",
                      .version = {'0', '0'}};
    const unsigned char *bytes = (const unsigned char *)&b;
    unsigned sum = 0;

    memcpy(b.name, name, strnlen(name, sizeof(b.name)));
    (void)snprintf(b.size, sizeof(b.size), "%011llo", (unsigned long long)nbytes);
    (void)snprintf(b.mtime, sizeof(b.mtime), "%011llo", (unsigned long long)mtime);
    memset(b.checksum, ' ', sizeof(b.checksum)); /* counts as blanks */
    for (size_t i = 0; i < sizeof(b); i++)
        sum += bytes[i];
    (void)snprintf(b.checksum, sizeof(b.checksum) - 1, "%06o", sum);
    buf_put(out, &b, sizeof(b));
}

static void put_zeros(struct buf *out, size_t n)
{
    static const char zeros[TAR_BLOCK];

    ASSERT(n <= sizeof(zeros));
    buf_put(out, zeros, n);
}

/* "LENGTH key=value\n", where LENGTH counts its own digits too. */
static void put_record(struct buf *out, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, len = rest + 1;

    while (len != rest + (size_t)snprintf(NULL, 0, "%zu", len))
        len = rest + (size_t)snprintf(NULL, 0, "%zu", len);
    buf_printf(out, "%zu %s=%s\n", len, key, value);
}

size_t tar_padding(uint64_t nbytes)
{
    return (TAR_BLOCK - (size_t)(nbytes % TAR_BLOCK)) % TAR_BLOCK;
}

void tar_header(struct buf *out, const char *name, uint64_t nbytes, uint64_t mtime)
{
    struct buf records = BUF_INIT;
    char size[24];

    if (strlen(name) > NAME_MAX_USTAR)
        put_record(&records, "path", name);
    if (nbytes > SIZE_MAX_USTAR) {
        (void)snprintf(size, sizeof(size), "%llu", (unsigned long long)nbytes);
        put_record(&records, "size", size);
    }
    if (records.len > 0) {
        put_block(out, "././@PaxHeader", 'x', records.len, mtime);
        buf_put(out, records.data, records.len);
        put_zeros(out, tar_padding(records.len));
    }
    buf_done(&records);
    put_block(out, name, '0', nbytes > SIZE_MAX_USTAR ? 0 : nbytes, mtime);
}

void tar_end(struct buf *out)
{
    put_zeros(out, TAR_BLOCK);
    put_zeros(out, TAR_BLOCK);
}
