/* test_store_cache.c: results by key: inline and in files, and which of them go first. */
#include "store_fixture.h"

#include <unistd.h>

static void values_inline_and_in_files(void **state)
{
    struct store *s = open_store(1000);
    struct digest none = key_of(9), five = key_of(5);
    struct buf b = BUF_INIT;
    uint64_t wal, cache, blobs = 0;
    char command[256];

    (void)state;
    assert_int_equal(store_begin(s, NULL), 0);
    put_value(s, 3, 1000);
    put_value(s, 5, 1001);
    put_value(s, 7, 100000);
    assert_int_equal(store_commit(s, NULL), 0);
    check_value(s, 3, 1000);
    check_value(s, 5, 1001);
    check_value(s, 7, 100000);
    assert_int_equal(store_cache_find(s, CACHE_SPECTRUM, &none, &b, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_cache_find(s, CACHE_FIT, &five, &b, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_sizes(s, &wal, &cache, &blobs, NULL), 0);
    assert_int_equal(blobs, 101001);
    store_close(s);
    s = open_store(1000);
    check_value(s, 7, 100000);
    snprintf(command, sizeof command, "find %s/blobs -name '0505*' -exec truncate -s 3 {} +", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(store_cache_find(s, CACHE_SPECTRUM, &five, &b, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_sizes(s, &wal, &cache, &blobs, NULL), 0);
    assert_int_equal(blobs, 100000); /* the row went with it */
    put_value(s, 5, 1001);
    check_value(s, 5, 1001);
    snprintf(command, sizeof command, "find %s/blobs -name '0505*' -exec truncate -s 1002 {} +",
             dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(store_cache_find(s, CACHE_SPECTRUM, &five, &b, NULL), ERR_NOT_FOUND);
    store_close(s);
}

/* What was not used for longest goes, of one kind only. */
static void trimmed(void **state)
{
    struct store *s = open_store(1000);
    struct digest one = key_of(1), fit = key_of(9);
    uint64_t wal, cache, blobs = 0;
    char value[3000] = {0};
    struct buf b = BUF_INIT;

    (void)state;
    assert_int_equal(store_begin(s, NULL), 0);
    assert_int_equal(store_cache_put(s, CACHE_FIT, &fit, value, 3000, NULL), 0);
    for (uint8_t k = 1; k <= 4; k++) {
        struct digest key = key_of(k);

        assert_int_equal(store_cache_put(s, CACHE_WINDOWS, &key, value, k == 2 ? 500 : 3000, NULL),
                         0);
    }
    assert_int_equal(store_cache_put(s, CACHE_WINDOWS, &one, value, 3000, NULL), 0); /* anew */
    assert_int_equal(store_cache_trim(s, CACHE_WINDOWS, 9500, NULL), 0);
    assert_true(store_cache_known(s, CACHE_WINDOWS, &one));
    assert_int_equal(store_cache_trim(s, CACHE_WINDOWS, 6100, NULL), 0);
    assert_int_equal(store_commit(s, NULL), 0);
    for (uint8_t k = 1; k <= 4; k++) {
        struct digest key = key_of(k);

        assert_int_equal(store_cache_known(s, CACHE_WINDOWS, &key), k == 1 || k == 4);
    }
    assert_int_equal(store_sizes(s, &wal, &cache, &blobs, NULL), 0);
    assert_int_equal(blobs, 9000);
    assert_int_equal(store_cache_trim(s, CACHE_WINDOWS, 0, NULL), 0);
    assert_int_equal(store_cache_trim(s, CACHE_WINDOWS, 0, NULL), 0);
    assert_int_equal(store_cache_find(s, CACHE_WINDOWS, &one, &b, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_cache_find(s, CACHE_FIT, &fit, &b, NULL), 0);
    buf_done(&b);
    store_close(s);
}

static bool is_known(struct store *s, uint8_t i)
{
    struct digest key = key_of(i);

    return store_cache_known(s, CACHE_SPECTRUM, &key);
}

/* Four values, in files or not, each older than the next. */
static void longest_unused(void **state)
{
    static const size_t len[] = {1001, 900, 100000, 800};
    struct store *s = open_store(1000);
    uint64_t used, first, removed;
    char path[256];
    size_t count;

    (void)state;
    for (uint8_t i = 0; i < 4; i++) {
        put_value(s, i, len[i]);
        (void)usleep(3000); /* times are in milliseconds */
    }
    assert_int_equal(store_cache_used(s, &first, NULL), 0);
    assert_int_equal(store_cache_evict(s, 1000, 1, 10, &count, &removed, NULL), 0);
    assert_true(count == 0 && removed == 0); /* nothing is that old */
    assert_int_equal(store_cache_evict(s, INT64_MAX, 1500, 10, &count, &removed, NULL), 0);
    assert_true(count == 2 && removed == 1901);
    assert_true(!is_known(s, 0) && !is_known(s, 1) && is_known(s, 2) && is_known(s, 3));
    snprintf(path, sizeof path, "find %s/blobs -name '0000*' | grep -q .", dir);
    assert_int_not_equal(system(path), 0);
    assert_int_equal(store_cache_evict(s, INT64_MAX, UINT64_MAX, 1, &count, &removed, NULL), 0);
    assert_true(count == 1 && removed == 100000 && !is_known(s, 2));
    check_value(s, 3, 800);
    assert_int_equal(store_cache_used(s, &used, NULL), 0);
    assert_true(used + 101001 <= first);
    assert_int_equal(store_cache_evict(s, INT64_MAX, UINT64_MAX, 10, &count, &removed, NULL), 0);
    assert_int_equal(count, 1);
    assert_int_equal(store_cache_evict(s, INT64_MAX, UINT64_MAX, 10, &count, &removed, NULL), 0);
    assert_int_equal(count, 0);
    put_value(s, 2, 100000);
    check_value(s, 2, 100000);
    store_close(s);
}

static size_t known_of(struct store *s, enum cache_kind kind, unsigned n)
{
    size_t count = 0;

    for (unsigned k = 0; k < n; k++) {
        struct digest key = key_of((uint8_t)k);

        count += store_cache_known(s, kind, &key);
    }
    return count;
}

/* Never more than so many, those put last among them, of one kind only. */
static void trimmed_by_count(void **state)
{
    struct store *s = open_store(100);
    char value[200] = {0};

    (void)state;
    assert_int_equal(store_begin(s, NULL), 0);
    for (unsigned k = 0; k < 200; k++) {
        struct digest key = key_of((uint8_t)k);

        assert_int_equal(store_cache_put(s, CACHE_FIT, &key, value, 10, NULL), 0);
        /* in a row, and in a file */
        assert_int_equal(store_cache_put(s, CACHE_PLAN, &key, value, k % 2 ? 50 : 150, NULL), 0);
        assert_int_equal(store_cache_trim_count(s, CACHE_PLAN, 40, NULL), 0);
        assert_in_range(known_of(s, CACHE_PLAN, k + 1), k < 38 ? k + 1 : 38, 40);
        assert_true(store_cache_known(s, CACHE_PLAN, &key));
    }
    assert_int_equal(store_commit(s, NULL), 0);
    assert_int_equal(known_of(s, CACHE_FIT, 200), 200);
    for (unsigned k = 0; k < 160; k++) {
        struct digest key = key_of((uint8_t)k);

        assert_false(store_cache_known(s, CACHE_PLAN, &key));
    }
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(values_inline_and_in_files),
        STORE_TEST(trimmed),
        STORE_TEST(trimmed_by_count),
        STORE_TEST(longest_unused),
    };

    return cmocka_run_group_tests_name("store_cache", tests, NULL, NULL);
}
