/* safetensors.c: header -> tensor table, in one pass over the text.
 *
 *   8 bytes   N, little-endian
 *   N bytes   {"name": {"dtype": "BF16", "shape": [a, b], "data_offsets": [begin, end]}, ...,
 *              "__metadata__": {"key": "value"}}
 *   rest      data; offsets count from here
 */
#include "models/safetensors.h"

#include "common/fdio.h"
#include "models/json_scan.h"
#include "models/sniff.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct buf name;
    bool has_dtype, has_shape, has_offsets;
    enum dtype dtype;
    uint32_t rank;
    uint64_t dims[TENSOR_RANK_MAX];
    uint64_t begin, end;
};

struct header {
    struct json_scan scan;
    struct tensor_table *out;
    uint64_t data_start, file_size;
    bool has_metadata;
    safetensors_entry *entry; /* or NULL */
    void *arg;
};

static const char *name_of(const struct entry *e)
{
    return (const char *)e->name.data;
}

static int read_dtype(struct header *h, struct entry *e)
{
    int t, r = json_scan_string(&h->scan);

    if (r < 0)
        return r;
    t = dtype_from_name((const char *)h->scan.text.data, h->scan.text.len);
    if (t < 0)
        return json_scan_fail(&h->scan, "tensor \"%.100s\" has the unknown dtype \"%.20s\"",
                              name_of(e), (const char *)h->scan.text.data);
    e->dtype = (enum dtype)t;
    return 0;
}

static int read_shape(struct header *h, struct entry *e)
{
    int r = json_scan_expect(&h->scan, '[', "the array of \"shape\"");

    e->rank = 0;
    if (r < 0)
        return r;
    if (json_scan_peek(&h->scan) == ']') {
        h->scan.p++;
        return 0;
    }
    do {
        if (e->rank == TENSOR_RANK_MAX)
            return json_scan_fail(&h->scan, "tensor \"%.100s\" has more than %d dimensions",
                                  name_of(e), TENSOR_RANK_MAX);
        r = json_scan_u64(&h->scan, "a dimension in \"shape\"", &e->dims[e->rank++]);
        if (r == 0)
            r = json_scan_more(&h->scan, ']');
    } while (r == 1);
    return r;
}

static int read_offsets(struct header *h, struct entry *e)
{
    int r = json_scan_expect(&h->scan, '[', "the array of \"data_offsets\"");

    if (r == 0)
        r = json_scan_u64(&h->scan, "the begin in \"data_offsets\"", &e->begin);
    if (r == 0)
        r = json_scan_expect(&h->scan, ',', "two numbers in \"data_offsets\"");
    if (r == 0)
        r = json_scan_u64(&h->scan, "the end in \"data_offsets\"", &e->end);
    if (r == 0)
        r = json_scan_expect(&h->scan, ']', "the end of \"data_offsets\" after two numbers");
    return r;
}

/* A field of a tensor's object; the key is in scan.text. */
static int read_field(struct header *h, struct entry *e)
{
    const char *key = (const char *)h->scan.text.data;
    bool *seen = strcmp(key, "dtype") == 0          ? &e->has_dtype
                 : strcmp(key, "shape") == 0        ? &e->has_shape
                 : strcmp(key, "data_offsets") == 0 ? &e->has_offsets
                                                    : NULL;
    int r;

    if (seen && *seen)
        return json_scan_fail(&h->scan, "tensor \"%.100s\" has \"%s\" twice", name_of(e), key);
    r = json_scan_expect(&h->scan, ':', "':'");
    if (r < 0)
        return r;
    if (!seen)
        return json_scan_skip(&h->scan);
    *seen = true;
    if (seen == &e->has_dtype)
        return read_dtype(h, e);
    return seen == &e->has_shape ? read_shape(h, e) : read_offsets(h, e);
}

static int check_entry(struct header *h, const struct entry *e)
{
    const char *missing = !e->has_dtype     ? "dtype"
                          : !e->has_shape   ? "shape"
                          : !e->has_offsets ? "data_offsets"
                                            : NULL;
    uint64_t room = h->file_size - h->data_start;

    if (missing)
        return json_scan_fail(&h->scan, "tensor \"%.100s\" has no \"%s\"", name_of(e), missing);
    if (e->end < e->begin)
        return json_scan_fail(&h->scan, "tensor \"%.100s\" ends (%llu) before it begins (%llu)",
                              name_of(e), (unsigned long long)e->end, (unsigned long long)e->begin);
    if (e->end > room)
        return json_scan_fail(&h->scan,
                              "tensor \"%.100s\" ends at %llu, the data section has %llu bytes: "
                              "the file is cut off or its header is wrong",
                              name_of(e), (unsigned long long)e->end, (unsigned long long)room);
    return tensor_table_add(h->out, name_of(e), e->name.len, e->dtype, e->rank, e->dims,
                            h->data_start + e->begin, e->end - e->begin, h->scan.err);
}

static int read_tensor(struct header *h, struct entry *e)
{
    int r;

    if (json_scan_peek(&h->scan) != '{')
        return json_scan_fail(&h->scan, "tensor \"%.100s\" is not described by an object",
                              name_of(e));
    h->scan.p++;
    if (json_scan_peek(&h->scan) == '}') {
        h->scan.p++;
        return check_entry(h, e);
    }
    do {
        r = json_scan_string(&h->scan);
        if (r == 0)
            r = read_field(h, e);
        if (r == 0)
            r = json_scan_more(&h->scan, '}');
    } while (r == 1);
    return r < 0 ? r : check_entry(h, e);
}

/* "key": "value" */
static int read_pair(struct header *h)
{
    AUTO(buf_done) struct buf key = BUF_INIT;
    int r = json_scan_string(&h->scan);

    if (r < 0)
        return r;
    key = h->scan.text; /* the scanner gets a new buffer */
    h->scan.text = (struct buf)BUF_INIT;
    r = json_scan_expect(&h->scan, ':', "':'");
    if (r == 0 && json_scan_peek(&h->scan) != '"')
        return json_scan_fail(&h->scan, "\"__metadata__\" holds a value that is no string");
    if (r == 0)
        r = json_scan_string(&h->scan);
    if (r == 0 && h->entry)
        r = h->entry(h->arg, (const char *)key.data, (const char *)h->scan.text.data,
                     h->scan.text.len, h->scan.err);
    return r;
}

/* An object of strings; null is accepted for the whole, as the reference does. */
static int read_metadata(struct header *h)
{
    int r;

    if (h->has_metadata)
        return json_scan_fail(&h->scan, "\"__metadata__\" appears twice");
    h->has_metadata = true;
    if (json_scan_peek(&h->scan) == 'n')
        return json_scan_skip(&h->scan);
    r = json_scan_expect(&h->scan, '{', "an object for \"__metadata__\"");
    if (r < 0)
        return r;
    if (json_scan_peek(&h->scan) == '}') {
        h->scan.p++;
        return 0;
    }
    do {
        r = read_pair(h);
        if (r == 0)
            r = json_scan_more(&h->scan, '}');
    } while (r == 1);
    return r;
}

static int read_member(struct header *h)
{
    struct entry e = {.name = BUF_INIT};
    int r = json_scan_string(&h->scan);

    if (r == 0 && strcmp((const char *)h->scan.text.data, "__metadata__") == 0) {
        r = json_scan_expect(&h->scan, ':', "':'");
        return r < 0 ? r : read_metadata(h);
    }
    if (r == 0) {
        e.name = h->scan.text; /* the scanner gets a new buffer */
        h->scan.text = (struct buf)BUF_INIT;
        r = json_scan_expect(&h->scan, ':', "':'");
    }
    if (r == 0)
        r = read_tensor(h, &e);
    buf_done(&e.name);
    return r;
}

static int read_object(struct header *h)
{
    int r = json_scan_expect(&h->scan, '{', "'{'");

    if (r < 0)
        return r;
    if (json_scan_peek(&h->scan) == '}') {
        h->scan.p++;
    } else {
        do {
            r = read_member(h);
            if (r == 0)
                r = json_scan_more(&h->scan, '}');
        } while (r == 1);
    }
    if (r == 0 && (json_scan_peek(&h->scan) != '\0' || h->scan.p != h->scan.end))
        r = json_scan_fail(&h->scan, "the header is followed by something that is no white space");
    return r;
}

/* Sorted by offset, tensors must follow each other without a gap up to the end of the file. */
static int check_layout(const struct header *h, struct err *err)
{
    uint64_t at = h->data_start;

    for (size_t i = 0; i < h->out->count; i++) {
        const struct tensor *t = &h->out->t[i];

        if (t->offset != at)
            return err_set(err, ERR_FORMAT,
                           "tensor \"%.100s\" begins at %llu where %llu was due: the data section "
                           "has a hole",
                           t->name, (unsigned long long)(t->offset - h->data_start),
                           (unsigned long long)(at - h->data_start));
        at += t->nbytes;
    }
    if (at != h->file_size)
        return err_set(err, ERR_FORMAT, "%llu bytes follow the last tensor",
                       (unsigned long long)(h->file_size - at));
    return 0;
}

static int parse(const char *header, size_t len, uint64_t file_size, safetensors_entry *entry,
                 void *arg, struct tensor_table *out, struct err *err)
{
    struct tensor_table tt = TENSOR_TABLE_INIT;
    struct header h = {.out = &tt, .file_size = file_size, .entry = entry, .arg = arg};
    int r;

    if (len > SAFETENSORS_HEADER_MAX)
        return err_set(err, ERR_LIMIT, "the header claims %zu bytes, the limit is %d", len,
                       SAFETENSORS_HEADER_MAX);
    if (file_size < 8 || len > file_size - 8)
        return err_set(err, ERR_FORMAT, "the header claims %zu bytes, the file has %llu", len,
                       (unsigned long long)file_size);
    h.data_start = 8 + (uint64_t)len;
    json_scan_init(&h.scan, header, len, err);
    r = read_object(&h);
    json_scan_done(&h.scan);
    if (r == 0)
        r = tensor_table_validate(&tt, file_size, err);
    if (r == 0)
        r = check_layout(&h, err);
    if (r < 0)
        tensor_table_done(&tt);
    else
        *out = tt;
    return r;
}

int safetensors_parse(const char *header, size_t len, uint64_t file_size, struct tensor_table *out,
                      struct err *err)
{
    return parse(header, len, file_size, NULL, NULL, out, err);
}

int safetensors_read_with(int fd, uint64_t file_size, safetensors_entry *entry, void *arg,
                          struct tensor_table *out, struct err *err)
{
    uint8_t head[SNIFF_BYTES];
    size_t n = file_size < sizeof head ? (size_t)file_size : sizeof head;
    uint64_t len = 0;
    int r = fd_pread_all(fd, head, n, 0, err);

    if (r == 0)
        r = sniff_safetensors(head, n, err);
    if (r < 0)
        return r;
    if (n < 8)
        return err_set(err, ERR_FORMAT, "the file has %llu bytes, a header needs 8",
                       (unsigned long long)file_size);
    for (size_t i = 0; i < 8; i++)
        len |= (uint64_t)head[i] << (8 * i);
    if (len > SAFETENSORS_HEADER_MAX)
        return err_set(err, ERR_LIMIT,
                       "the header claims %llu bytes, the limit is %d; is this a safetensors file?",
                       (unsigned long long)len, SAFETENSORS_HEADER_MAX);
    if (len > file_size - 8)
        return err_set(err, ERR_FORMAT, "the header claims %llu bytes, the file has %llu",
                       (unsigned long long)len, (unsigned long long)file_size);
    AUTO(freep) char *text = malloc((size_t)len + 1);
    if (!text)
        return err_set(err, ERR_NOMEM, "no memory for a header of %llu bytes",
                       (unsigned long long)len);
    r = fd_pread_all(fd, text, (size_t)len, 8, err);
    return r < 0 ? r : parse(text, (size_t)len, file_size, entry, arg, out, err);
}

int safetensors_read(int fd, uint64_t file_size, struct tensor_table *out, struct err *err)
{
    return safetensors_read_with(fd, file_size, NULL, NULL, out, err);
}
