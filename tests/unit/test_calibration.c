/* test_calibration.c: the header of a file of statistics: aliases, hostile bytes. */
#include "models/calibration.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int read_example(struct calibration *out, uint64_t *size)
{
    int fd = open(TEST_EXAMPLES "/manlm.stats.safetensors", O_RDONLY);
    struct stat st;
    int r;

    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    *size = (uint64_t)st.st_size;
    r = calibration_read(fd, *size, out, NULL);
    close(fd);
    return r;
}

static void an_input_serves_its_aliases(void **state)
{
    struct calibration c;
    uint64_t size;
    const struct tensor *q, *k;

    (void)state;
    assert_int_equal(read_example(&c, &size), 0);
    assert_int_equal(c.n_sequences, 128);
    assert_false(c.sequential);
    q = calibration_find(&c, "model.layers.1.self_attn.q_proj", "sumsq");
    k = calibration_find(&c, "model.layers.1.self_attn.k_proj", "sumsq");
    assert_true(q && q == k);
    assert_int_equal(q->dims[0], 192);
    assert_null(calibration_find(&c, "model.layers.1.self_attn.q_proj", "score"));
    assert_null(calibration_find(&c, "lm_head", "sumsq"));
    calibration_done(&c);
}

static void bytes_and_back(void **state)
{
    struct calibration c, d;
    struct buf b = BUF_INIT;
    uint64_t size;

    (void)state;
    assert_int_equal(read_example(&c, &size), 0);
    calibration_write(&c, &b);
    assert_int_equal(calibration_parse(b.data, b.len, size, &d, NULL), 0);
    assert_int_equal(d.n_aliases, c.n_aliases);
    assert_int_equal(d.tt.count, c.tt.count);
    assert_non_null(calibration_find(&d, "model.layers.0.mlp.up_proj", "gram"));
    calibration_done(&d);
    /* Cut off or changed anywhere: an error or something valid, never a crash. */
    for (size_t n = 0; n < b.len; n += 7)
        assert_true(calibration_parse(b.data, n, size, &d, NULL) < 0);
    for (size_t i = 0; i < b.len && i < 4000; i++) {
        b.data[i] ^= 0x55;
        if (calibration_parse(b.data, b.len, size, &d, NULL) == 0)
            calibration_done(&d);
        b.data[i] ^= 0x55;
    }
    buf_done(&b);
    calibration_done(&c);
}

/* A file with this header and `data` bytes. */
static int read_header(const char *header, size_t data, struct err *err)
{
    char path[] = "/tmp/calibration.XXXXXX";
    int fd = mkstemp(path);
    uint64_t len = strlen(header);
    struct calibration c;
    int r;

    assert_true(fd >= 0);
    (void)unlink(path);
    assert_int_equal(write(fd, &len, 8), 8);
    assert_int_equal(write(fd, header, len), (ssize_t)len);
    assert_int_equal(ftruncate(fd, (off_t)(8 + len + data)), 0);
    r = calibration_read(fd, 8 + len + data, &c, err);
    if (r == 0)
        calibration_done(&c);
    close(fd);
    return r;
}

static void bad_metadata(void **state)
{
    static const struct {
        const char *metadata;
        int code;
    } cases[] = {{"{}", 0},
                 {"{\"n_seq\":\"12\",\"mode\":\"sequential\",\"more\":\"x\"}", 0},
                 {"{\"n_seq\":\"0\"}", ERR_FORMAT},
                 {"{\"n_seq\":\"-3\"}", ERR_FORMAT},
                 {"{\"n_seq\":\"1e3\"}", ERR_FORMAT},
                 {"{\"aliases\":\"[]\"}", ERR_FORMAT},
                 {"{\"aliases\":\"{\\\"a\\\":1}\"}", ERR_FORMAT},
                 {"{\"aliases\":\"{\\\"a\\\":\\\"b\\\",\\\"a\\\":\\\"c\\\"}\"}", ERR_FORMAT},
                 {"{\"aliases\":\"{\\\"a\\\":\\\"b\\\"}\"}", 0}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char header[400];
        struct err err;

        snprintf(header, sizeof header,
                 "{\"__metadata__\":%s,\"a.sumsq\":{\"dtype\":\"F32\",\"shape\":[3],"
                 "\"data_offsets\":[0,12]}}",
                 cases[i].metadata);
        assert_int_equal(read_header(header, 12, &err), cases[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_input_serves_its_aliases),
        cmocka_unit_test(bytes_and_back),
        cmocka_unit_test(bad_metadata),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
