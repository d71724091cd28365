/* tar_stream.c: blocks of 512 bytes: a header, then the file's bytes padded to whole blocks; two
 * blocks of zeros end the archive. Some headers ("x", "L") carry a name or a size for the next
 * one in their body. */
#include "models/tar_stream.h"

#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK    512
#define META_MAX 65536 /* body of an extended header */

enum state { AT_HEADER, IN_FILE, IN_META, IN_SKIPPED, IN_PADDING, AT_END };

struct tar_stream {
    struct tar_sink sink;
    enum state state;
    uint8_t block[BLOCK];
    size_t filled;    /* bytes of block */
    uint64_t left;    /* of the body in work */
    unsigned padding; /* after it */
    unsigned zeros;   /* blocks of zeros in a row */
    char meta_type;   /* 'x' or 'L' */
    struct buf meta;  /* its body */
    char *next_name;  /* from an extended header, or NULL */
    bool has_size;    /* next_size holds */
    uint64_t next_size;
    unsigned n_files;
};

/* Offsets and lengths of the header's fields. */
#define SIZE      124, 12
#define CHECKSUM  148, 8
#define TYPE_AT   156
#define MAGIC_AT  257
#define PREFIX_AT 345

struct tar_stream *tar_stream_new(const struct tar_sink *sink)
{
    struct tar_stream *t = xcalloc(1, sizeof *t);

    t->sink = *sink;
    return t;
}

void tar_stream_free(struct tar_stream *t)
{
    if (!t)
        return;
    buf_done(&t->meta);
    free(t->next_name);
    free(t);
}

/* --- numbers ------------------------------------------------------------------------------- */

/* Octal digits ended by a space, a NUL or the field; or, with the top bit set, base 256. */
static bool number(const uint8_t *p, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;

    if (*p & 0x80) {
        v = *p & 0x7f;
        if (v & 0x40) /* negative */
            return false;
        for (i = 1; i < n; i++) {
            if (v >> 56)
                return false;
            v = v << 8 | p[i];
        }
        *out = v;
        return true;
    }
    while (i < n && p[i] == ' ')
        i++;
    if (i == n || p[i] < '0' || p[i] > '7')
        return false;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
        v = v << 3 | (uint64_t)(p[i] - '0');
    for (; i < n; i++)
        if (p[i] != ' ' && p[i] != '\0')
            return false;
    *out = v;
    return true;
}

static bool number_at(const uint8_t *block, size_t at, size_t n, uint64_t *out)
{
    return number(block + at, n, out);
}

/* The sum of all bytes with the checksum's own field as spaces; historic writers added signed
 * characters. */
static bool checksum_holds(const uint8_t *block)
{
    uint64_t want;
    int64_t plain = 0, with_sign = 0;

    if (!number_at(block, CHECKSUM, &want))
        return false;
    for (size_t i = 0; i < BLOCK; i++) {
        uint8_t c = i >= 148 && i < 156 ? ' ' : block[i];

        plain += c;
        with_sign += (int8_t)c;
    }
    return (int64_t)want == plain || (int64_t)want == with_sign;
}

/* --- names --------------------------------------------------------------------------------- */

static const char *component_fault(const char *s, size_t n)
{
    if (n == 0)
        return "has an empty component";
    if (n > TAR_COMPONENT_MAX)
        return "has a component of more than 255 bytes";
    if ((n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
        return "has a \".\" or \"..\" component";
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)s[i] < 0x20 || s[i] == 0x7f || s[i] == '\\')
            return "holds a control character or a backslash";
    return NULL;
}

/* Check `name` and drop a leading "./" and a trailing "/" of a directory. NULL: it is fine. */
static const char *name_fault(char *name, bool is_dir)
{
    size_t n = strlen(name), from = 0, depth = 0;
    const char *p;

    while (name[from] == '.' && name[from + 1] == '/')
        from += 2;
    n -= from;
    memmove(name, name + from, n + 1);
    if (is_dir && n > 0 && name[n - 1] == '/')
        name[--n] = '\0';
    if (is_dir && (n == 0 || strcmp(name, ".") == 0))
        return NULL; /* the archive's own top */
    if (n == 0)
        return "is empty";
    if (n > TAR_NAME_MAX)
        return "has more than 1024 bytes";
    if (*name == '/')
        return "is absolute";
    for (p = name;; p++) {
        size_t len = strcspn(p, "/");
        const char *fault = component_fault(p, len);

        if (fault)
            return fault;
        if (++depth > TAR_DEPTH_MAX)
            return "is more than 16 directories deep";
        p += len;
        if (!*p)
            return NULL;
    }
}

/* The header's name: the extended one when there was one; else prefix and name. */
static char *take_name(struct tar_stream *t)
{
    const char *prefix = (const char *)t->block + PREFIX_AT;
    const char *name = (const char *)t->block;
    bool posix = memcmp(t->block + MAGIC_AT, "ustar\0", 6) == 0;

    if (t->next_name)
        return TAKE(t->next_name);
    if (posix && *prefix)
        return xasprintf("%.155s/%.100s", prefix, name);
    return xasprintf("%.100s", name);
}

/* --- extended headers ----------------------------------------------------------------------- */

static int bad_pax(struct err *err)
{
    return err_set(err, ERR_FORMAT, "the archive has a malformed extended header");
}

static int pax_record(struct tar_stream *t, const char *key, const char *value, size_t len,
                      struct err *err)
{
    if (strncmp(key, "GNU.sparse", 10) == 0)
        return err_set(err, ERR_UNSUPPORTED, "the archive holds a sparse file");
    if (memchr(value, '\0', len))
        return bad_pax(err);
    if (strcmp(key, "path") == 0) {
        free(t->next_name);
        t->next_name = xasprintf("%.*s", (int)len, value);
    } else if (strcmp(key, "size") == 0) {
        uint64_t v = 0;

        if (len == 0 || len > 19)
            return bad_pax(err);
        for (size_t i = 0; i < len; i++) {
            if (value[i] < '0' || value[i] > '9')
                return bad_pax(err);
            v = v * 10 + (uint64_t)(value[i] - '0');
        }
        t->has_size = true;
        t->next_size = v;
    }
    return 0;
}

/* Records "LENGTH KEY=VALUE\n", where LENGTH counts the whole record. */
static int pax_body(struct tar_stream *t, struct err *err)
{
    char *p = (char *)t->meta.data;
    size_t left = t->meta.len;
    int r = 0;

    while (r == 0 && left > 0) {
        size_t len = 0, i = 0;
        char *equals;

        for (; i < left && i < 6 && p[i] >= '0' && p[i] <= '9'; i++)
            len = len * 10 + (size_t)(p[i] - '0');
        if (i == 0 || i == left || p[i] != ' ' || len > left || len < i + 3 || p[len - 1] != '\n')
            return bad_pax(err);
        equals = memchr(p + i + 1, '=', len - i - 2);
        if (!equals || memchr(p + i + 1, '\0', (size_t)(equals - p) - i - 1))
            return bad_pax(err);
        *equals = '\0';
        r = pax_record(t, p + i + 1, equals + 1, len - (size_t)(equals + 1 - p) - 1, err);
        p += len;
        left -= len;
    }
    return r;
}

static int meta_done(struct tar_stream *t, struct err *err)
{
    int r = 0;

    if (t->meta_type == 'x') {
        r = pax_body(t, err);
    } else { /* 'L': the name, with a NUL at its end */
        free(t->next_name);
        buf_put_u8(&t->meta, '\0');
        t->next_name = xstrdup((const char *)t->meta.data);
    }
    buf_reset(&t->meta);
    return r;
}

/* --- headers -------------------------------------------------------------------------------- */

static const char *type_name(uint8_t type)
{
    switch (type) {
    case '1':
        return "a hard link";
    case '2':
        return "a symbolic link";
    case '3':
    case '4':
        return "a device";
    case '6':
        return "a pipe";
    case 'S':
        return "a sparse file";
    default:
        return "an entry of an unknown type";
    }
}

static void enter_body(struct tar_stream *t, enum state state, uint64_t size)
{
    t->left = size;
    t->padding = (unsigned)((BLOCK - size % BLOCK) % BLOCK);
    t->state = size ? state : AT_HEADER;
}

static int begin_file(struct tar_stream *t, const char *name, uint64_t size, struct err *err)
{
    int r;

    if (++t->n_files > TAR_FILES_MAX)
        return err_set(err, ERR_LIMIT, "the archive holds more than %d files", TAR_FILES_MAX);
    r = t->sink.begin(t->sink.arg, name, size, err);
    if (r == 0 && size == 0)
        r = t->sink.end(t->sink.arg, err);
    if (r == 0)
        enter_body(t, IN_FILE, size);
    return r;
}

static int begin_meta(struct tar_stream *t, uint8_t type, uint64_t size, struct err *err)
{
    if (size > META_MAX)
        return err_set(err, ERR_LIMIT, "the archive has an extended header of more than %d bytes",
                       META_MAX);
    t->meta_type = (char)type;
    enter_body(t, type == 'g' ? IN_SKIPPED : IN_META, size);
    return 0;
}

static int entry(struct tar_stream *t, uint8_t type, uint64_t size, struct err *err)
{
    AUTO(freep) char *name = take_name(t);
    bool is_dir = type == '5';
    const char *fault;

    if (t->has_size)
        size = t->next_size;
    t->has_size = false;
    if (size >> 62)
        return err_set(err, ERR_FORMAT, "the archive has a file of an impossible size");
    if (type != '0' && type != '\0' && !is_dir)
        return err_set(err, ERR_UNSUPPORTED,
                       "the archive holds %s, \"%.100s\": only plain files and directories are "
                       "taken",
                       type_name(type), name);
    fault = name_fault(name, is_dir);
    if (fault)
        return err_set(err, ERR_FORMAT, "the archive has a name that %s: \"%.100s\"", fault, name);
    if (!is_dir)
        return begin_file(t, name, size, err);
    enter_body(t, IN_SKIPPED, size);
    return 0;
}

static int header(struct tar_stream *t, struct err *err)
{
    static const uint8_t zeros[BLOCK];
    uint8_t type = t->block[TYPE_AT];
    uint64_t size;

    if (memcmp(t->block, zeros, BLOCK) == 0) {
        t->state = ++t->zeros == 2 ? AT_END : AT_HEADER;
        return 0;
    }
    if (t->zeros)
        return err_set(err, ERR_FORMAT, "the archive goes on after a block of zeros");
    if (memcmp(t->block + MAGIC_AT, "ustar", 5) != 0 || !checksum_holds(t->block))
        return err_set(err, ERR_FORMAT,
                       "this is not a tar archive (ustar, pax or GNU), or a header "
                       "is damaged");
    if (!number_at(t->block, SIZE, &size))
        return err_set(err, ERR_FORMAT, "the archive has a malformed size");
    if (type == 'x' || type == 'L' || type == 'g')
        return begin_meta(t, type, size, err);
    return entry(t, type, size, err);
}

/* --- pieces --------------------------------------------------------------------------------- */

static int body(struct tar_stream *t, const uint8_t *p, size_t n, struct err *err)
{
    int r = 0;

    if (t->state == IN_FILE)
        r = t->sink.data(t->sink.arg, p, n, err);
    else if (t->state == IN_META)
        buf_put(&t->meta, p, n);
    t->left -= n;
    if (r < 0 || t->left > 0)
        return r;
    if (t->state == IN_FILE)
        r = t->sink.end(t->sink.arg, err);
    else if (t->state == IN_META)
        r = meta_done(t, err);
    t->state = t->padding ? IN_PADDING : AT_HEADER;
    return r;
}

static int trailer(const uint8_t *p, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return err_set(err, ERR_FORMAT, "something follows the end of the archive");
    return 0;
}

/* Use some of the bytes; *used > 0. */
static int step(struct tar_stream *t, const uint8_t *p, size_t n, size_t *used, struct err *err)
{
    switch (t->state) {
    case AT_HEADER:
        *used = n < BLOCK - t->filled ? n : BLOCK - t->filled;
        memcpy(t->block + t->filled, p, *used);
        t->filled += *used;
        if (t->filled < BLOCK)
            return 0;
        t->filled = 0;
        return header(t, err);
    case IN_FILE:
    case IN_META:
    case IN_SKIPPED:
        *used = n < t->left ? n : (size_t)t->left;
        return body(t, p, *used, err);
    case IN_PADDING:
        *used = n < t->padding ? n : t->padding;
        t->padding -= (unsigned)*used;
        if (t->padding == 0)
            t->state = AT_HEADER;
        return 0;
    case AT_END:
        break;
    }
    *used = n;
    return trailer(p, n, err);
}

int tar_stream_add(struct tar_stream *t, const void *bytes, size_t len, struct err *err)
{
    const uint8_t *p = bytes;
    int r = 0;

    while (r == 0 && len > 0) {
        size_t used;

        r = step(t, p, len, &used, err);
        p += used;
        len -= used;
    }
    return r;
}

int tar_stream_end(struct tar_stream *t, struct err *err)
{
    if (t->state != AT_END)
        return err_set(err, ERR_FORMAT, "the archive is cut short: its end mark is missing");
    if (t->n_files == 0)
        return err_set(err, ERR_FORMAT, "the archive holds no file");
    return 0;
}
