/* test_store.c: the verbs of the store, crashes, damage, and other processes. */
#include "storage/store.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static struct store *open_store(uint64_t inline_max)
{
    struct store_options opt = {.dir = dir, .inline_max = inline_max};
    struct store *s = NULL;
    struct err err = {0};

    if (store_open_sqlite(&opt, &s, &err) < 0)
        print_error("%s\n", err.text);
    assert_non_null(s);
    return s;
}

static int fresh_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/store-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static struct job_record make_job(const char *id, int64_t created)
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

static void submit(struct store *s, const char *id, int64_t created)
{
    struct job_record j = make_job(id, created);

    assert_int_equal(store_job_submit(s, &j, NULL), 0);
}

static enum job_state state_of(struct store *s, const char *id)
{
    struct job_record j = {0};
    enum job_state st;

    assert_int_equal(store_job_get(s, id, &j, NULL), 0);
    st = j.state;
    job_record_done(&j);
    return st;
}

static void job_life(void **state)
{
    struct store *s = open_store(0);
    struct job_record j = {0};

    (void)state;
    submit(s, "job_a", 1);
    assert_int_equal(state_of(s, "job_a"), JOB_QUEUED);
    assert_int_equal(store_job_claim(s, "local", NULL, 99, &j, NULL), 0);
    assert_string_equal(j.id, "job_a");
    assert_int_equal(j.attempt, 1);
    assert_int_equal(store_job_claim(s, "local", NULL, 99, &(struct job_record){0}, NULL),
                     ERR_NOT_FOUND);
    assert_int_equal(store_job_progress(s, "job_a", 1, 3, 9, 1, 2, NULL), 0);
    assert_int_equal(store_job_progress(s, "job_a", 2, 3, 9, 1, 2, NULL), ERR_CONFLICT);
    assert_int_equal(store_job_delete(s, "job_a", NULL), ERR_CONFLICT);
    j.attempt = 7; /* a late finish of another attempt */
    j.state = JOB_SUCCEEDED;
    assert_int_equal(store_job_finish(s, &j, NULL), ERR_CONFLICT);
    j.attempt = 1;
    j.result = xstrdup("{\"analysis\":\"ana_x\"}");
    j.finished_ms = 5;
    assert_int_equal(store_job_finish(s, &j, NULL), 0);
    assert_int_equal(store_job_finish(s, &j, NULL), ERR_CONFLICT);
    job_record_done(&j);
    assert_int_equal(store_job_get(s, "job_a", &j, NULL), 0);
    assert_int_equal(j.state, JOB_SUCCEEDED);
    assert_string_equal(j.result, "{\"analysis\":\"ana_x\"}");
    assert_true(j.version >= 4);
    job_record_done(&j);
    assert_int_equal(store_job_delete(s, "job_a", NULL), 0);
    assert_int_equal(store_job_get(s, "job_a", &j, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_job_delete(s, "job_a", NULL), ERR_NOT_FOUND);
    store_close(s);
}

static void cancel_and_recover(void **state)
{
    struct store *s = open_store(0);
    struct job_record j = {0};
    size_t n = 0;

    (void)state;
    submit(s, "job_q", 1);
    assert_int_equal(store_job_cancel(s, "job_q", 2, &j, NULL), 0);
    assert_int_equal(j.state, JOB_CANCELLED);
    job_record_done(&j);
    submit(s, "job_r", 3);
    submit(s, "job_s", 4);
    assert_int_equal(store_job_claim(s, "local", "job_r", 99, &j, NULL), 0);
    job_record_done(&j);
    assert_int_equal(store_job_claim(s, "local", "job_s", 99, &j, NULL), 0);
    job_record_done(&j);
    assert_int_equal(store_job_cancel(s, "job_r", 5, &j, NULL), 0);
    assert_int_equal(j.state, JOB_CANCELLING);
    job_record_done(&j);
    assert_int_equal(store_job_recover(s, "local", 6, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(state_of(s, "job_r"), JOB_CANCELLED);
    assert_int_equal(state_of(s, "job_s"), JOB_QUEUED);
    assert_int_equal(store_job_claim(s, "local", NULL, 99, &j, NULL), 0);
    assert_int_equal(j.attempt, 2);
    job_record_done(&j);
    assert_int_equal(store_job_cancel(s, "job_none", 5, &j, NULL), ERR_NOT_FOUND);
    store_close(s);
}

/* Pages are stable and complete although five jobs share each millisecond. */
static void paging(void **state)
{
    struct store *s = open_store(0);
    struct job_query q = {.state = -1, .limit = 7};
    char last[IDENT_MAX] = "job_99";
    size_t seen = 0;

    (void)state;
    for (int i = 0; i < 25; i++) {
        char id[16];

        snprintf(id, sizeof id, "job_%02d", i);
        submit(s, id, 100 + i / 5);
    }
    for (;;) {
        struct job_list l = {0};

        assert_int_equal(store_job_list(s, &q, &l, NULL), 0);
        if (l.count == 0)
            break;
        for (size_t i = 0; i < l.count; i++) {
            assert_true(strcmp(l.job[i].id, last) < 0);
            memcpy(last, l.job[i].id, sizeof last);
        }
        seen += l.count;
        q.before_ms = l.job[l.count - 1].created_ms;
        memcpy(q.before_id, last, sizeof last);
        job_list_done(&l);
    }
    assert_int_equal(seen, 25);
    store_close(s);
}

static size_t count_labelled(struct store *s, const char *key, const char *value)
{
    struct job_query q = {.state = JOB_QUEUED, .label_key = key, .label_value = value, .limit = 9};
    struct job_list l = {0};
    size_t n;

    assert_int_equal(store_job_list(s, &q, &l, NULL), 0);
    n = l.count;
    job_list_done(&l);
    return n;
}

static void labels(void **state)
{
    struct store *s = open_store(0);

    (void)state;
    submit(s, "job_a", 1);
    assert_int_equal(count_labelled(s, "run.a", "1"), 1);
    assert_int_equal(count_labelled(s, "q\"k", "2"), 1);
    assert_int_equal(count_labelled(s, "run.a", "2"), 0);
    assert_int_equal(count_labelled(s, "run", "1"), 0);
    assert_int_equal(count_labelled(s, "' OR 1=1 --", "1"), 0);
    store_close(s);
}

static struct digest key_of(uint8_t b)
{
    struct digest d;

    memset(d.b, b, sizeof d.b);
    return d;
}

static void check_value(struct store *s, uint8_t k, size_t len)
{
    struct digest key = key_of(k);
    struct buf b = BUF_INIT;

    assert_int_equal(store_cache_find(s, CACHE_SPECTRUM, &key, &b, NULL), 0);
    assert_int_equal(b.len, len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(b.data[i], (uint8_t)(i * k));
    buf_done(&b);
}

static void put_value(struct store *s, uint8_t k, size_t len)
{
    struct digest key = key_of(k);
    uint8_t *v = xmalloc(len);

    for (size_t i = 0; i < len; i++)
        v[i] = (uint8_t)(i * k);
    assert_int_equal(store_cache_put(s, CACHE_SPECTRUM, &key, v, len, NULL), 0);
    free(v);
}

static void values_inline_and_in_files(void **state)
{
    struct store *s = open_store(1000);
    struct digest none = key_of(9), five = key_of(5);
    struct buf b = BUF_INIT;
    uint64_t wal, cache, blobs = 0;
    char command[128];

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
    put_value(s, 5, 1001);
    check_value(s, 5, 1001);
    store_close(s);
}

static void files_and_rows(void **state)
{
    struct store *s = open_store(0);
    struct file_identity id = {1, UINT64_MAX, 3, -4, 5}, other = id;
    struct file_record f = {.table = BUF_INIT, .digests = BUF_INIT}, g;
    struct layer_row row[3];
    struct layer_row_list l = {0};
    struct digest key = key_of(1);
    struct layer_row one;
    uint64_t n = 0;

    (void)state;
    buf_put(&f.table, "table", 5);
    assert_int_equal(store_file_put(s, &id, &f, NULL), 0);
    assert_int_equal(store_file_find(s, &id, &g, NULL), 0);
    assert_memory_equal(g.table.data, "table", 5);
    assert_int_equal(g.digests.len, 0);
    file_record_done(&g);
    file_record_done(&f);
    other.ctime_ns++;
    assert_int_equal(store_file_find(s, &other, &g, NULL), ERR_NOT_FOUND);
    for (size_t i = 0; i < 3; i++)
        row[i] = (struct layer_row){i, (char *)(uintptr_t)(i == 1 ? "b" : "a"),
                                    (char *)(uintptr_t) "{}"};
    assert_int_equal(store_rows_put(s, &key, row, 3, NULL), 0);
    assert_int_equal(store_rows_put(s, &key, row, 3, NULL), 0);
    assert_int_equal(store_rows_count(s, &key, &n, NULL), 0);
    assert_int_equal(n, 3);
    assert_int_equal(store_rows_get(s, &key, 1, 10, &l, NULL), 0);
    assert_int_equal(l.count, 2);
    assert_int_equal(l.row[0].layer_id, 1);
    layer_row_list_done(&l);
    assert_int_equal(store_rows_find(s, &key, "b", &one, NULL), 0);
    assert_int_equal(one.layer_id, 1);
    layer_row_done(&one);
    assert_int_equal(store_rows_find(s, &key, "c", &one, NULL), ERR_NOT_FOUND);
    store_close(s);
}

static void second_process_is_refused(void **state)
{
    struct store *s = open_store(0);
    struct store_options opt = {.dir = dir};
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0) {
        struct store *t = NULL;

        _exit(store_open_sqlite(&opt, &t, NULL) == ERR_CONFLICT ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    store_close(s);
}

static void damaged_cache_is_replaced(void **state)
{
    struct store *s = open_store(0);
    char command[128];

    (void)state;
    submit(s, "job_kept", 1);
    put_value(s, 3, 10);
    store_close(s);
    snprintf(command, sizeof command, "head -c 8192 /dev/urandom > %s/cache.db", dir);
    assert_int_equal(system(command), 0);
    s = open_store(0);
    assert_string_not_equal(store_warning(s), "");
    assert_int_equal(state_of(s, "job_kept"), JOB_QUEUED);
    put_value(s, 3, 10);
    check_value(s, 3, 10);
    store_close(s);
}

static void newer_schema_is_refused(void **state)
{
    struct store_options opt = {.dir = dir};
    struct store *s = open_store(0);
    char command[160];
    uint8_t version[4] = {0, 0, 0, 99}; /* user_version, big-endian, at byte 60 */
    FILE *f;

    (void)state;
    store_close(s);
    snprintf(command, sizeof command, "%s/state.db", dir);
    f = fopen(command, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 60, SEEK_SET), 0);
    assert_int_equal(fwrite(version, 1, 4, f), 4);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(store_open_sqlite(&opt, &s, NULL), ERR_UNSUPPORTED);
}

/* A write beyond the file size limit looks like a full disk; afterwards all works again. */
static void full_disk(void **state)
{
    struct store *s = open_store(0);
    struct rlimit old, small = {20000, RLIM_INFINITY};
    bool failed = false;

    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    submit(s, "job_before", 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 50 && !failed; i++) {
        struct job_record j = make_job("job_full", 2);

        failed = store_begin(s, NULL) < 0 || store_job_submit(s, &j, NULL) < 0 ||
                 store_commit(s, NULL) < 0 || store_job_delete(s, "job_full", NULL) == 1;
        snprintf(j.id, sizeof j.id, "job_%d", i);
        if (!failed)
            failed = store_job_submit(s, &j, NULL) < 0;
    }
    assert_true(failed);
    store_rollback(s);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    submit(s, "job_after", 3);
    assert_int_equal(state_of(s, "job_before"), JOB_QUEUED);
    store_close(s);
}

/* A child acknowledges every committed job through a pipe and is killed: all must be there. */
static void acknowledged_jobs_survive_a_kill(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        int pipe_fd[2], n, acknowledged = -1, status;
        pid_t child;
        struct store *s;

        assert_int_equal(pipe(pipe_fd), 0);
        child = fork();
        if (child == 0) {
            struct store *t = open_store(0);

            for (int i = 0;; i++) {
                char id[24];

                snprintf(id, sizeof id, "job_%d_%d", round, i);
                if (store_begin(t, NULL) < 0)
                    _exit(1);
                submit(t, id, i);
                if (store_commit(t, NULL) < 0 || write(pipe_fd[1], &i, sizeof i) != sizeof i)
                    _exit(1);
            }
        }
        (void)close(pipe_fd[1]);
        usleep(60000 + 40000 * (useconds_t)round);
        (void)kill(child, SIGKILL);
        while (read(pipe_fd[0], &n, sizeof n) == sizeof n)
            acknowledged = n;
        (void)close(pipe_fd[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        s = open_store(0);
        for (int i = 0; i <= acknowledged; i++) {
            char id[24];

            snprintf(id, sizeof id, "job_%d_%d", round, i);
            assert_int_equal(state_of(s, id), JOB_QUEUED);
        }
        store_close(s);
    }
}

int main(void)
{
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, fresh_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        STORE_TEST(job_life),
        STORE_TEST(cancel_and_recover),
        STORE_TEST(paging),
        STORE_TEST(labels),
        STORE_TEST(values_inline_and_in_files),
        STORE_TEST(files_and_rows),
        STORE_TEST(second_process_is_refused),
        STORE_TEST(damaged_cache_is_replaced),
        STORE_TEST(newer_schema_is_refused),
        STORE_TEST(full_disk),
        STORE_TEST(acknowledged_jobs_survive_a_kill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
