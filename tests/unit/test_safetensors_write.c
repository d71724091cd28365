/* test_safetensors_write.c: what is written reads back; what would not is refused. */
#include "models/hf.h"
#include "models/safetensors.h"
#include "models/safetensors_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct tensor three[] = {
    {"a \"quoted\" n\xc3\xa4me", DTYPE_BF16, 2, {3, 5}, 0, 30},
    {"empty", DTYPE_F32, 1, {0}, 0, 0},
    {"scalar", DTYPE_I64, 0, {0}, 0, 8},
};

/* The bytes as a file, with `total` bytes of data. */
static int file_of(const struct buf *b, uint64_t total)
{
    char name[] = "/tmp/safetensors_write_XXXXXX";
    int fd = mkstemp(name);

    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(write(fd, b->data, b->len), (ssize_t)b->len);
    assert_int_equal(ftruncate(fd, (off_t)(b->len + total)), 0);
    return fd;
}

/* Header -> file -> reader. */
static void read_back(const struct buf *b, uint64_t total, struct tensor_table *tt,
                      struct safetensors_metadata *m)
{
    struct err err = {0};
    int fd = file_of(b, total);

    assert_int_equal(
        safetensors_read_with(fd, b->len + total, safetensors_metadata_keep, m, tt, &err), 0);
    close(fd);
}

static void tensors_come_back(void **state)
{
    struct buf b = BUF_INIT;
    struct tensor_table tt;
    struct safetensors_metadata m = SAFETENSORS_METADATA_INIT;

    (void)state;
    assert_int_equal(safetensors_write_header(three, 3, NULL, 0, &b, NULL), 0);
    assert_int_equal(b.len % 8, 0);
    read_back(&b, 38, &tt, &m);
    assert_int_equal(tt.count, 3);
    assert_string_equal(tt.t[0].name, three[0].name);
    assert_int_equal(tt.t[0].dtype, DTYPE_BF16);
    assert_int_equal(tt.t[0].rank, 2);
    assert_int_equal(tt.t[0].dims[0], 3);
    assert_int_equal(tt.t[0].dims[1], 5);
    assert_int_equal(tt.t[0].offset, b.len);
    assert_string_equal(tt.t[1].name, "empty");
    assert_string_equal(tt.t[2].name, "scalar");
    assert_int_equal(tt.t[2].offset, b.len + 30);
    assert_int_equal(m.count, 1);
    assert_string_equal(m.pair[0].key, "format");
    assert_string_equal(m.pair[0].value, "pt");
    tensor_table_done(&tt);
    safetensors_metadata_done(&m);
    buf_done(&b);
}

static void metadata_are_kept(void **state)
{
    struct buf b = BUF_INIT;
    struct tensor_table tt;
    struct safetensors_metadata m = SAFETENSORS_METADATA_INIT, back = SAFETENSORS_METADATA_INIT;

    (void)state;
    safetensors_metadata_set(&m, "who", "first");
    safetensors_metadata_set(&m, "format", "np"); /* not one that loaders take */
    safetensors_metadata_set(&m, "who", "a \"name\"\nin two lines");
    assert_int_equal(safetensors_write_header(three, 1, &m, 0, &b, NULL), 0);
    read_back(&b, 30, &tt, &back);
    assert_int_equal(back.count, 2);
    assert_string_equal(back.pair[0].value, "pt");
    assert_string_equal(back.pair[1].key, "who");
    assert_string_equal(back.pair[1].value, "a \"name\"\nin two lines");
    tensor_table_done(&tt);
    safetensors_metadata_done(&back);

    safetensors_metadata_set(&m, "format", "mlx");
    buf_reset(&b);
    assert_int_equal(safetensors_write_header(NULL, 0, &m, 0, &b, NULL), 0);
    read_back(&b, 0, &tt, &back);
    assert_int_equal(tt.count, 0);
    assert_int_equal(back.count, 2);
    assert_string_equal(back.pair[1].value, "mlx");
    tensor_table_done(&tt);
    safetensors_metadata_done(&back);
    safetensors_metadata_done(&m);
    buf_done(&b);
}

/* A header with the largest sizes is never shorter than one with the real ones. */
static void room_is_reserved(void **state)
{
    struct tensor t[3];
    struct buf most = BUF_INIT, b = BUF_INIT;
    struct tensor_table tt;
    struct safetensors_metadata m = SAFETENSORS_METADATA_INIT;
    struct err err = {0};

    (void)state;
    memcpy(t, three, sizeof t);
    t[0].dims[0] = 1000000;
    t[0].nbytes = 10000000;
    assert_int_equal(safetensors_write_header(t, 3, NULL, 0, &most, NULL), 0);
    assert_int_equal(safetensors_write_header(three, 3, NULL, most.len, &b, NULL), 0);
    assert_int_equal(b.len, most.len);
    read_back(&b, 38, &tt, &m);
    assert_int_equal(tt.t[0].offset, most.len);
    tensor_table_done(&tt);
    safetensors_metadata_done(&m);
    assert_int_equal(safetensors_write_header(three, 3, NULL, 64, &b, &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "does not fit"));
    assert_int_equal(b.len, most.len);
    buf_done(&b);
    buf_done(&most);
}

static void refused(const struct tensor *t, size_t n, int code)
{
    struct buf b = BUF_INIT;
    struct err err = {0};

    assert_int_equal(safetensors_write_header(t, n, NULL, 0, &b, &err), code);
    assert_int_equal(err.code, code);
    assert_int_equal(b.len, 0);
}

static void what_the_reader_refuses_is_not_written(void **state)
{
    static const struct tensor twice[] = {{"a", DTYPE_U8, 1, {2}, 0, 2},
                                          {"a", DTYPE_U8, 1, {2}, 0, 2}};
    static const struct tensor odd = {"a", DTYPE_F32, 1, {2}, 0, 7};
    static const struct tensor control = {"a\nb", DTYPE_U8, 1, {2}, 0, 2};
    static const struct tensor latin = {"\xe4", DTYPE_U8, 1, {2}, 0, 2};
    static const struct tensor metadata = {"__metadata__", DTYPE_U8, 1, {2}, 0, 2};
    static const struct tensor nameless = {"", DTYPE_U8, 1, {2}, 0, 2};
    static const struct tensor rank = {"a", DTYPE_U8, TENSOR_RANK_MAX + 1, {1}, 0, 1};
    static const struct tensor huge[] = {{"a", DTYPE_U8, 1, {1ull << 62}, 0, 1ull << 62},
                                         {"b", DTYPE_U8, 1, {1ull << 62}, 0, 1ull << 62}};

    (void)state;
    refused(twice, 2, ERR_FORMAT);
    refused(&odd, 1, ERR_FORMAT);
    refused(&control, 1, ERR_FORMAT);
    refused(&latin, 1, ERR_FORMAT);
    refused(&metadata, 1, ERR_FORMAT);
    refused(&nameless, 1, ERR_FORMAT);
    refused(&rank, 1, ERR_FORMAT);
    refused(huge, 2, ERR_LIMIT);
}

static void an_index_comes_back(void **state)
{
    struct safetensors_place p[] = {{"b.weight", "model-00002.safetensors"},
                                    {"a \"q\"", "model-00001.safetensors"},
                                    {"c", "model-00001.safetensors"}};
    struct safetensors_place bad = {"a", "../model.safetensors"};
    struct safetensors_place twice[] = {{"a", "m.safetensors"}, {"a", "n.safetensors"}};
    struct hf_index ix;
    struct buf b = BUF_INIT;
    struct err err = {0};

    (void)state;
    assert_int_equal(safetensors_write_index(p, 3, 123456789012, &b, NULL), 0);
    assert_int_equal(hf_index_parse((const char *)b.data, b.len, &ix, NULL), 0);
    assert_int_equal(ix.n_entries, 3);
    assert_int_equal(ix.n_shards, 2);
    assert_string_equal(ix.entry[0].tensor, "a \"q\"");
    assert_string_equal(ix.shard[ix.entry[1].shard], "model-00002.safetensors");
    buf_put_u8(&b, 0);
    assert_non_null(strstr((const char *)b.data, "\"total_size\": 123456789012\n"));
    hf_index_done(&ix);
    buf_reset(&b);
    assert_int_equal(safetensors_write_index(&bad, 1, 1, &b, &err), ERR_FORMAT);
    assert_int_equal(safetensors_write_index(twice, 2, 1, &b, &err), ERR_FORMAT);
    assert_int_equal(b.len, 0);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_come_back),
        cmocka_unit_test(metadata_are_kept),
        cmocka_unit_test(room_is_reserved),
        cmocka_unit_test(what_the_reader_refuses_is_not_written),
        cmocka_unit_test(an_index_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
