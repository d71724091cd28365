/* test_tar.c: archives in pieces of every size; numbers and names at their limits. What a whole
 * archive of another program's looks like is tested over HTTP. */
#include "models/tar_stream.h"

#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct seen {
    char name[1100];
    uint64_t size, got;
    unsigned files, ended;
};

static int begin(void *arg, const char *name, uint64_t size, struct err *err)
{
    struct seen *s = arg;

    (void)err;
    snprintf(s->name, sizeof s->name, "%s", name);
    s->size = size;
    s->files++;
    return 0;
}

static int data_in(void *arg, const void *bytes, size_t len, struct err *err)
{
    (void)bytes;
    (void)err;
    ((struct seen *)arg)->got += len;
    return 0;
}

static int end(void *arg, struct err *err)
{
    (void)err;
    ((struct seen *)arg)->ended++;
    return 0;
}

/* A header; `size` as it stands in its field. */
static void put_header(struct buf *b, const char *name, const char *size, char type,
                       const char *magic, const char *prefix)
{
    uint8_t h[512] = {0};
    unsigned sum = 0;

    memcpy(h, name, strlen(name) > 100 ? 100 : strlen(name));
    memcpy(h + 124, size, 12);
    h[156] = (uint8_t)type;
    memcpy(h + 257, magic, 8);
    memcpy(h + 345, prefix, strlen(prefix));
    memset(h + 148, ' ', 8);
    for (size_t i = 0; i < sizeof h; i++)
        sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
    buf_put(b, h, sizeof h);
}

#define POSIX                                                                                      \
    "ustar\0"                                                                                      \
    "00"
#define GNU "ustar  "

static void put_zeros(struct buf *b, size_t n)
{
    while (n-- > 0)
        buf_put_u8(b, 0);
}

static int read_all(const struct buf *b, size_t step, struct seen *s, struct err *err)
{
    struct tar_stream *t = tar_stream_new(&(struct tar_sink){begin, data_in, end, s});
    int r = 0;

    for (size_t at = 0; r == 0 && at < b->len; at += step)
        r = tar_stream_add(t, b->data + at, b->len - at < step ? b->len - at : step, err);
    if (r == 0)
        r = tar_stream_end(t, err);
    tar_stream_free(t);
    return r;
}

static void pieces_of_every_size(void **state)
{
    AUTO(buf_done) struct buf b = BUF_INIT;

    (void)state;
    put_header(&b, "./dir/", "00000000000", '5', POSIX, "");
    put_header(&b, "name", "00000001050", '0', POSIX, "some/prefix"); /* 552 bytes */
    for (int i = 0; i < 552; i++)
        buf_put_u8(&b, 'x');
    put_zeros(&b, 1024 - 552);
    put_header(&b, "empty", "00000000000", '\0', GNU, "not a prefix with GNU");
    put_zeros(&b, 1024 + 3 * 512);
    for (size_t step = 1; step <= b.len; step += step < 20 ? 1 : 97) {
        struct seen s = {.files = 0};
        struct err err;

        assert_int_equal(read_all(&b, step, &s, &err), 0);
        assert_int_equal(s.files, 2);
        assert_int_equal(s.ended, 2);
        assert_int_equal(s.got, 552);
        assert_string_equal(s.name, "empty");
    }
}

static int one(const char *name, const char *size, char type, const char *prefix, struct seen *s,
               struct err *err)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct tar_stream *t = tar_stream_new(&(struct tar_sink){begin, data_in, end, s});
    int r;

    put_header(&b, name, size, type, POSIX, prefix);
    r = tar_stream_add(t, b.data, b.len, err);
    tar_stream_free(t);
    return r;
}

static void sizes(void **state)
{
    struct seen s = {.files = 0};
    struct err err;

    (void)state;
    assert_int_equal(one("x", "77777777777", '0', "", &s, &err), 0);
    assert_int_equal(s.size, 077777777777ull);
    assert_int_equal(one("x", "        17 \0", '0', "", &s, &err), 0);
    assert_int_equal(s.size, 017);
    assert_int_equal(one("x", "777777777777", '0', "", &s, &err), 0);
    assert_int_equal(s.size, 0777777777777ull);
    assert_int_equal(one("x", "\x80\0\0\0\0\0\1\0\0\0\0\5", '0', "", &s, &err), 0);
    assert_int_equal(s.size, (1ull << 40) + 5);
    assert_int_equal(one("x", "\x80\0\0\0\x80\0\0\0\0\0\0\0", '0', "", &s, &err), ERR_FORMAT);
    assert_int_equal(one("x", "\x80\1\0\0\0\0\0\0\0\0\0\0", '0', "", &s, &err), ERR_FORMAT);
    assert_int_equal(
        one("x", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", '0', "", &s, &err),
        ERR_FORMAT);
    assert_int_equal(one("x", "0000000008x", '0', "", &s, &err), ERR_FORMAT);
    assert_int_equal(one("x", "-0000000001", '0', "", &s, &err), ERR_FORMAT);
    assert_int_equal(one("x", "           ", '0', "", &s, &err), ERR_FORMAT);
}

static void names(void **state)
{
    static const char *const bad[] = {"",    "/",     "/x",   "..",   "../x",       "x/..",
                                      ".",   "x/./y", "x//y", "x/",   "a\\b",       "x/../../y",
                                      ".//", "a\x7f", ".//x", "./..", "././../etc", "./"};
    char longest[101];
    struct seen s = {.files = 0};
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(one(bad[i], "00000000001", '0', "", &s, &err), ERR_FORMAT);
    assert_int_equal(s.files, 0);
    memset(longest, 'n', 100);
    longest[100] = '\0';
    assert_int_equal(one(longest, "00000000001", '0', "p/q", &s, &err), 0);
    assert_int_equal(strlen(s.name), 104);
    assert_int_equal(one("./././ok", "00000000001", '0', "", &s, &err), 0);
    assert_string_equal(s.name, "ok");
    assert_int_equal(one("...", "00000000001", '0', "", &s, &err), 0);
    assert_int_equal(one("x", "00000000001", '0', "/etc", &s, &err), ERR_FORMAT);
    assert_int_equal(one("x", "00000000001", '0', "..", &s, &err), ERR_FORMAT);
}

static int pax(const char *records, size_t len, struct seen *s, struct err *err)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    char size[13];

    snprintf(size, sizeof size, "%011o", (unsigned)len);
    put_header(&b, "pax", size, 'x', POSIX, "");
    buf_put(&b, records, len);
    put_zeros(&b, (512 - len % 512) % 512);
    put_header(&b, "short", "00000000000", '0', POSIX, "");
    put_zeros(&b, 1024);
    return read_all(&b, 100, s, err);
}

static void extended_headers(void **state)
{
    static const char *const bad[] = {
        "8 path=a\n",   "11 path=a\n",  "10 path=a ",   "10 pathxa\n",     "x\n", "10\n", "0 \n",
        "11 size=-1\n", "11 size=1x\n", "11 path=..\n", "999999 path=a\n",
    };
    struct seen s = {.files = 0};
    struct err err;

    (void)state;
    assert_int_equal(pax("16 path=long/er\n19 mtime=1234567.5\n", 35, &s, &err), 0);
    assert_string_equal(s.name, "long/er");
    assert_int_equal(pax("", 0, &s, &err), 0);
    assert_string_equal(s.name, "short");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(pax(bad[i], strlen(bad[i]), &s, &err) < 0);
    assert_int_equal(pax("12 path=a\0b\n", 12, &s, &err), ERR_FORMAT);
    assert_int_equal(pax("22 GNU.sparse.major=1\n", 22, &s, &err), ERR_UNSUPPORTED);
}

static void damaged_header(void **state)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct seen s = {.files = 0};
    struct err err;

    (void)state;
    put_header(&b, "x", "00000000000", '0', POSIX, "");
    put_zeros(&b, 1024);
    assert_int_equal(read_all(&b, b.len, &s, &err), 0);
    b.data[3] ^= 1;
    assert_int_equal(read_all(&b, b.len, &s, &err), ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_every_size),
        cmocka_unit_test(sizes),
        cmocka_unit_test(names),
        cmocka_unit_test(extended_headers),
        cmocka_unit_test(damaged_header),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
