/* store_fixture.h: a store in a directory of its own, and small records, for the store's tests. */
#ifndef SPECTRALD_TEST_STORE_FIXTURE_H
#define SPECTRALD_TEST_STORE_FIXTURE_H

#include "storage/sqlite_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char dir[64];

static inline struct store *open_store(uint64_t inline_max)
{
    struct store_options opt = {.dir = dir, .inline_max = inline_max};
    struct store *s = NULL;
    struct err err = {0};

    if (store_open_sqlite(&opt, &s, &err) < 0)
        print_error("%s\n", err.text);
    assert_non_null(s);
    return s;
}

static inline int fresh_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/store-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static inline int remove_dir(void **state)
{
    char command[256];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static inline struct job_record make_job(const char *id, int64_t created)
{
    struct job_record j = {.kind = (char *)(uintptr_t) "analyze",
                           .owner = (char *)(uintptr_t) "local",
                           .source = (char *)(uintptr_t) "{\"path\":\"x\"}",
                           .params = (char *)(uintptr_t) "{}",
                           .labels = (char *)(uintptr_t) "{\"run.a\":\"1\",\"q\\\"k\":\"2\"}",
                           .created_ms = created};

    snprintf(j.id, sizeof j.id, "%s", id);
    return j;
}

static inline void submit(struct store *s, const char *id, int64_t created)
{
    struct job_record j = make_job(id, created);

    assert_int_equal(store_job_submit(s, &j, NULL), 0);
}

static inline enum job_state state_of(struct store *s, const char *id)
{
    struct job_record j = {0};
    enum job_state st;

    assert_int_equal(store_job_get(s, id, &j, NULL), 0);
    st = j.state;
    job_record_done(&j);
    return st;
}

static inline struct digest key_of(uint8_t b)
{
    struct digest d;

    memset(d.b, b, sizeof d.b);
    return d;
}

static inline void check_value(struct store *s, uint8_t k, size_t len)
{
    struct digest key = key_of(k);
    struct buf b = BUF_INIT;

    assert_int_equal(store_cache_find(s, CACHE_SPECTRUM, &key, &b, NULL), 0);
    assert_int_equal(b.len, len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(b.data[i], (uint8_t)(i * k));
    buf_done(&b);
}

static inline void put_value(struct store *s, uint8_t k, size_t len)
{
    struct digest key = key_of(k);
    uint8_t *v = xmalloc(len);

    for (size_t i = 0; i < len; i++)
        v[i] = (uint8_t)(i * k);
    assert_int_equal(store_cache_put(s, CACHE_SPECTRUM, &key, v, len, NULL), 0);
    free(v);
}

static inline size_t count_jobs(struct store *s)
{
    uint64_t counts[JOB_STATE_COUNT];
    size_t sum = 0;

    assert_int_equal(store_job_counts(s, counts, NULL), 0);
    for (size_t i = 0; i < JOB_STATE_COUNT; i++)
        sum += counts[i];
    return sum;
}

#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, fresh_dir, remove_dir)

#endif
