/* test_api_reads.c: the pieces behind tables and spectra: negotiation, rows, CSV, npy, histograms,
 * documents and the cache of them.
 */
#include "api/accept.h"
#include "api/csv.h"
#include "api/doc_cache.h"
#include "api/gzip.h"
#include "api/histogram.h"
#include "api/npy.h"
#include "daemon/row_text.h"
#include "daemon/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

/* --- Accept ------------------------------------------------------------------------------------
 */

static int choose(const char *first, const char *second)
{
    static const char *const offer[] = {"application/json", "text/csv", "application/x-npy"};
    struct accept a;

    accept_init(&a, offer, ARRAY_LEN(offer));
    if (first)
        accept_add(&a, first);
    if (second)
        accept_add(&a, second);
    return accept_choose(&a);
}

static void test_accept(void **state)
{
    (void)state;
    assert_int_equal(choose(NULL, NULL), 0);
    assert_int_equal(choose("*/*", NULL), 0);
    assert_int_equal(choose("text/csv", NULL), 1);
    assert_int_equal(choose("TEXT/Csv; header=present", NULL), 1);
    assert_int_equal(choose("text/*", NULL), 1);
    assert_int_equal(choose("text/html, */*;q=0.1", NULL), 0);
    assert_int_equal(choose("application/json;q=0.2, text/csv;q=0.3", NULL), 1);
    assert_int_equal(choose("application/json;q=0.3 , text/csv; q=0.3", NULL), 0);
    assert_int_equal(choose("application/json;q=0.2", "text/csv;q=0.9"), 1);
    assert_int_equal(choose("application/*, application/json;q=0.1", NULL), 2);
    assert_int_equal(choose("application/json;q=0, */*;q=0.5", NULL), 1);
    assert_int_equal(choose("text/csv;q=0.001", NULL), 1);
    assert_int_equal(choose("text/csv;q=0.000", NULL), -1);
    assert_int_equal(choose("image/png", NULL), -1);
    assert_int_equal(choose("text", NULL), -1);
    assert_int_equal(choose("text/csvx, text/cs", NULL), -1);
    assert_int_equal(choose("", NULL), 0);
    assert_int_equal(choose(" , ", ""), 0);
    assert_int_equal(choose(",;,/,q=1,;;q=,*/", NULL), -1);
    assert_int_equal(choose("text/csv;q=1.5", NULL), 1); /* malformed weights count as 1 */
    assert_int_equal(choose("text/csv;q=x;a", NULL), 1);
}

static void test_accept_encoding(void **state)
{
    static const char *const yes[] = {"gzip",
                                      "GZip",
                                      "deflate, gzip;q=1.0, *;q=0.5",
                                      "*",
                                      "gzip;q=0.5",
                                      "identity;q=0.5, gzip;q=0.5",
                                      "br, *;q=0.1",
                                      "identity;q=0, gzip;q=0.001"};
    static const char *const no[] = {"",
                                     "identity",
                                     "br",
                                     "gzip;q=0",
                                     "*, gzip;q=0",
                                     "*;q=0",
                                     "gzip;q=0.4, identity;q=0.5",
                                     "x-gzipped",
                                     "gzi"};

    (void)state;
    assert_false(accept_gzip(NULL));
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (!accept_gzip(yes[i]))
            fail_msg("%s", yes[i]);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (accept_gzip(no[i]))
            fail_msg("%s", no[i]);
}

/* --- rows --------------------------------------------------------------------------------------
 */

static const char row_json[] =
    "{\"a\":1,\"s\":\"x,\\\"y\\\"\\u0007\\\\\",\"l\":[1,[2,\"}\"],3],\"o\":{\"p\":\",\"},"
    "\"n\":null,\"t\":[\"u\",\"v,w\"],\"e\":\"\"}";

static void test_rows(void **state)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "{}",
                                      "[]",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1",
                                      "{\"a\":1,}",
                                      "{\"a\":1}x",
                                      "{\"a\":\"",
                                      "{\"a\":\"\\",
                                      "{\"a\":[1}",
                                      "{a:1}",
                                      "{\"a\":1 \"b\"",
                                      "{\"a",
                                      "{\"a\":1,,"};
    AUTO(buf_done) struct buf plain = BUF_INIT;
    struct row_text r;
    const struct row_member *m;

    (void)state;
    assert_true(row_text_parse(row_json, &r));
    assert_int_equal(r.count, 7);
    m = row_text_find(&r, "l", 99);
    assert_non_null(m);
    assert_int_equal(m->len, strlen("[1,[2,\"}\"],3]"));
    assert_ptr_equal(row_text_find(&r, "a", 0), &r.member[0]);
    assert_ptr_equal(row_text_find(&r, "n", 2), &r.member[4]);
    assert_null(row_text_find(&r, "aa", 0));
    m = row_text_find(&r, "s", 1);
    assert_true(row_text_plain(m, &plain));
    assert_int_equal(plain.len, 7);
    assert_memory_equal(plain.data, "x,\"y\"\a\\", 7);
    assert_true(row_text_matches(m, "x,\"y\"\a\\", false));
    assert_true(row_text_matches(m, "\"y\"", true));
    assert_false(row_text_matches(m, "y", false));
    assert_false(row_text_plain(row_text_find(&r, "a", 0), &plain));
    assert_false(row_text_matches(row_text_find(&r, "a", 0), "1", false));
    m = row_text_find(&r, "e", 0);
    assert_true(row_text_matches(m, "", false) && row_text_matches(m, "", true));
    assert_false(row_text_matches(m, "x", true));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (row_text_parse(bad[i], &r))
            fail_msg("taken: %s", bad[i]);
}

/* Texts of exact size, so that a sanitizer sees reads past their ends. */
static void test_cut_rows(void **state)
{
    struct row_text r;

    (void)state;
    for (size_t n = 0; n + 1 < sizeof row_json; n++) {
        AUTO(freep) char *cut = strndup(row_json, n);

        assert_false(row_text_parse(cut, &r));
    }
}

static void test_too_many_members(void **state)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct row_text r;

    (void)state;
    for (int i = 0; i <= ROW_MEMBERS_MAX; i++)
        buf_printf(&b, "%c\"k%d\":%d", i ? ',' : '{', i, i);
    buf_put(&b, "}", 2);
    assert_false(row_text_parse((const char *)b.data, &r));
}

/* --- CSV ---------------------------------------------------------------------------------------
 */

static void expect_csv(const char *json_value, const char *want)
{
    AUTO(buf_done) struct buf out = BUF_INIT;
    struct row_member m = {.value = json_value, .len = strlen(json_value)};

    csv_value(&out, &m);
    buf_put_u8(&out, '\0');
    assert_string_equal((const char *)out.data, want);
}

static void test_csv(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT;

    (void)state;
    expect_csv("null", "");
    expect_csv("1.5e-7", "1.5e-7");
    expect_csv("true", "true");
    expect_csv("\"\"", "");
    expect_csv("\"plain\"", "plain");
    expect_csv("\"null\"", "null");
    expect_csv("\"a,b\"", "\"a,b\"");
    expect_csv("\"say \\\"hi\\\"\"", "\"say \"\"hi\"\"\"");
    expect_csv("\"two\\nlines\"", "\"two\nlines\"");
    expect_csv("\"\\u000d\"", "\"\r\"");
    expect_csv("\" edge\"", "\" edge\"");
    expect_csv("\"\\u00e9\\u20ac\"", "\xc3\xa9\xe2\x82\xac");
    expect_csv("[]", "");
    expect_csv("[64,32]", "64;32");
    expect_csv("[\"a\",\"b\"]", "a;b");
    csv_value(&out, NULL);
    assert_int_equal(out.len, 0);
    csv_end(&out);
    assert_memory_equal(out.data, "\r\n", 2);
}

/* --- npy ---------------------------------------------------------------------------------------
 */

static void test_npy(void **state)
{
    static const double x[] = {0, 0.5, 3};

    (void)state;
    for (size_t n = 0; n <= 3; n++) {
        AUTO(buf_done) struct buf b = BUF_INIT;
        char shape[64];
        size_t head;

        npy_write(x, n, &b);
        assert_memory_equal(b.data, "\x93NUMPY\x01\x00", 8);
        head = 10 + b.data[8] + 256u * b.data[9];
        assert_int_equal(head % 64, 0);
        assert_int_equal(b.len, head + 8 * n);
        assert_int_equal(b.data[head - 1], '\n');
        snprintf(shape, sizeof shape, "'shape': (%zu,), }", n);
        assert_non_null(memmem(b.data, head, shape, strlen(shape)));
        assert_non_null(memmem(b.data, head, "'descr': '<f8'", 14));
        if (n)
            assert_memory_equal(b.data + head, x, 8 * n);
    }
}

/* --- histograms --------------------------------------------------------------------------------
 */

static void check_histogram(const double *x, size_t n, size_t bins, bool log_scale, double noise)
{
    AUTO(freep) struct histogram *h = xmalloc(sizeof *h);
    uint64_t total = 0;
    double area = 0;

    histogram_make(x, n, bins, log_scale, noise, h);
    assert_int_equal(h->bins, bins);
    for (size_t i = 0; i < bins; i++) {
        uint64_t want = 0;

        assert_true(isfinite(h->edge[i]) && h->edge[i] <= h->edge[i + 1]);
        for (size_t k = 0; k < n; k++)
            want += x[k] >= h->edge[i] &&
                    (x[k] < h->edge[i + 1] || (i == bins - 1 && x[k] <= h->edge[bins]));
        assert_int_equal(h->count[i], want);
        total += want;
        area += h->density[i] * (h->edge[i + 1] - h->edge[i]);
    }
    assert_int_equal(total + h->n_below + h->n_nonpositive, n);
    assert_true(total == 0 || fabs(area - 1) < 1e-9);
}

static void test_histograms(void **state)
{
    static const double x[] = {0, 0, 1e-17, 3e-16, 0.5, 1, 1, 2, 3, 1000};
    static const double same[] = {7, 7, 7}, zero[] = {0, 0}, far[] = {1e-300, 1e300};
    AUTO(freep) struct histogram *h = xmalloc(sizeof *h);

    (void)state;
    for (size_t bins = 1; bins <= HISTOGRAM_BINS_MAX; bins = bins * 3 + 1)
        for (int log_scale = 0; log_scale < 2; log_scale++) {
            check_histogram(x, ARRAY_LEN(x), bins, log_scale, 1e-15);
            check_histogram(x, ARRAY_LEN(x), bins, log_scale, 0);
            check_histogram(x, ARRAY_LEN(x), bins, log_scale, 1e6);
            check_histogram(same, 3, bins, log_scale, 0);
            check_histogram(zero, 2, bins, log_scale, 0);
            check_histogram(zero, 0, bins, log_scale, 0);
            check_histogram(far, 2, bins, log_scale, 0);
        }
    histogram_make(x, ARRAY_LEN(x), 4, true, 1e-15, h);
    assert_int_equal(h->n_nonpositive, 2);
    assert_int_equal(h->n_below, 2);
    assert_true(h->edge[0] == 0.5 && h->edge[4] == 1000);
    histogram_make(x, ARRAY_LEN(x), 4, false, 1e-15, h);
    assert_int_equal(h->n_below + h->n_nonpositive, 0);
    assert_int_equal(h->count[0], 9);
    histogram_make(same, 3, 2, false, 0, h);
    assert_true(h->edge[0] == 6.5 && h->edge[1] == 7 && h->edge[2] == 7.5);
}

/* --- documents ---------------------------------------------------------------------------------
 */

static struct doc *doc_of(const char *text, size_t len, bool gzip)
{
    struct buf b = BUF_INIT;

    while (b.len < len)
        buf_put(&b, text, strlen(text));
    b.len = len;
    return doc_new("application/json", &b, NULL, gzip);
}

static void test_documents(void **state)
{
    struct doc *plain = doc_of("abc", 5000, false), *small = doc_of("abc", 5000, true),
               *other = doc_of("abd", 5000, true), *tiny = doc_of("abc", GZIP_MIN - 1, true);
    uint8_t back[5000];
    z_stream z = {.next_in = small->body,
                  .avail_in = (uInt)small->len,
                  .next_out = back,
                  .avail_out = sizeof back};

    (void)state;
    assert_true(small->gzip && small->len < 200 && !plain->gzip && !tiny->gzip);
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    (void)inflateEnd(&z);
    assert_memory_equal(back, plain->body, sizeof back);
    assert_string_not_equal(plain->etag, small->etag);
    assert_string_not_equal(other->etag, small->etag);
    assert_int_equal(strncmp(plain->etag, small->etag, 33), 0);
    doc_unref(plain);
    doc_unref(small);
    doc_unref(other);
    doc_unref(tiny);
    doc_unref(NULL);
}

/* Random bytes do not shrink: they are sent as they are. */
static void test_incompressible(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT;
    uint32_t x = 1, noise[1000];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(noise); i++)
        noise[i] = x = x * 1664525u + 1013904223u + (x >> 13);
    assert_false(gzip_bytes(noise, sizeof noise, GZIP_KEPT, &out));
    assert_int_equal(out.len, 0);
}

static void put(struct doc_cache *c, const char *key, size_t len)
{
    struct doc *d = doc_of(key, len, false);

    doc_cache_put(c, key, d);
    doc_unref(d);
}

static void test_cache(void **state)
{
    struct metrics *m = metrics_new();
    struct doc_cache *c = doc_cache_new(10000, m);
    AUTO(buf_done) struct buf text = BUF_INIT;
    struct doc *held;

    (void)state;
    assert_null(doc_cache_find(c, "a"));
    put(c, "a", 2000);
    put(c, "b", 2000);
    put(c, "c", 2000);
    put(c, "d", 2000);
    assert_non_null(doc_cache_find(c, "a")); /* now the newest */
    held = doc_ref(doc_cache_find(c, "b"));
    put(c, "e", 2000); /* c goes */
    assert_null(doc_cache_find(c, "c"));
    assert_non_null(doc_cache_find(c, "a"));
    put(c, "b", 100); /* in its place; who holds the old one keeps it */
    assert_int_equal(doc_cache_find(c, "b")->len, 100);
    assert_int_equal(held->len, 2000);
    assert_int_equal(((char *)held->body)[1999], 'b');
    doc_unref(held);
    put(c, "huge", 3000); /* more than a quarter */
    assert_null(doc_cache_find(c, "huge"));
    for (int i = 0; i < 1000; i++) {
        char key[16];

        snprintf(key, sizeof key, "k%d", i);
        put(c, key, 50);
        assert_non_null(doc_cache_find(c, key));
    }
    assert_null(doc_cache_find(c, "a"));
    metrics_write(m, &text);
    buf_put_u8(&text, '\0');
    assert_non_null(strstr((const char *)text.data, "\nspectrald_reply_cache_misses_total 4\n"));
    doc_cache_free(c);
    metrics_free(m);
}

static void test_no_cache(void **state)
{
    struct metrics *m = metrics_new();
    struct doc_cache *c = doc_cache_new(0, m);

    (void)state;
    put(c, "a", 1);
    assert_null(doc_cache_find(c, "a"));
    doc_cache_free(c);
    doc_cache_free(NULL);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_accept_encoding),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_cut_rows),
        cmocka_unit_test(test_too_many_members),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_npy),
        cmocka_unit_test(test_histograms),
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_incompressible),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_no_cache),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
