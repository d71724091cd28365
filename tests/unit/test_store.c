/* test_store.c: the verbs of the store, crashes, damage, and other processes. */
#include "storage/sqlite_store.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

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
    char command[256];

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

/* The child must not inherit the open handle: it would be refused by its own memory of it. */
static void second_process_is_refused(void **state)
{
    struct store_options opt = {.dir = dir};
    struct store *s;
    int go[2], status;
    pid_t child;
    char c = 0;

    (void)state;
    assert_int_equal(pipe(go), 0);
    child = fork();
    if (child == 0) {
        struct store *t = NULL;
        bool refused = read(go[0], &c, 1) == 1 && store_open_sqlite(&opt, &t, NULL) == ERR_CONFLICT;

        _exit(refused && t == NULL ? 0 : 1);
    }
    s = open_store(0);
    assert_int_equal(write(go[1], &c, 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    submit(s, "job_a", 1); /* the refused one did no harm */
    store_close(s);
    (void)close(go[0]);
    (void)close(go[1]);
}

static void damaged_cache_is_replaced(void **state)
{
    struct store *s = open_store(0);
    char command[256];

    (void)state;
    submit(s, "job_kept", 1);
    put_value(s, 3, 10);
    store_close(s);
    snprintf(command, sizeof command,
             "cd %s && head -c 8192 /dev/urandom > cache.db && cp cache.db cache.db-wal", dir);
    assert_int_equal(system(command), 0);
    s = open_store(0);
    assert_string_not_equal(store_warning(s), "");
    assert_int_equal(state_of(s, "job_kept"), JOB_QUEUED);
    put_value(s, 3, 10);
    check_value(s, 3, 10);
    store_close(s);
    snprintf(command, sizeof command, "test $(stat -c %%s %s/cache.db.corrupt-*) = 8192", dir);
    assert_int_equal(system(command), 0);
}

static void newer_schema_is_refused(void **state)
{
    struct store_options opt = {.dir = dir};
    struct store *s = open_store(0);
    char command[256];
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

static void limit_file_size(rlim_t bytes)
{
    struct rlimit l;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static size_t count_jobs(struct store *s)
{
    uint64_t counts[JOB_STATE_COUNT];
    size_t sum = 0;

    assert_int_equal(store_job_counts(s, counts, NULL), 0);
    for (size_t i = 0; i < JOB_STATE_COUNT; i++)
        sum += counts[i];
    return sum;
}

/* A write beyond the file size limit looks like a full disk. Whatever is reported as failed must
 * not be there afterwards, and all works again. */
static void full_disk(void **state)
{
    struct store *s = open_store(1000);
    size_t stored = 0;
    int r = 0;

    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    limit_file_size(300000);
    for (int i = 0; i < 1000 && r == 0; i++) {
        r = store_begin(s, NULL);
        for (int k = 0; k < 5; k++) {
            char id[24];
            struct job_record j;

            snprintf(id, sizeof id, "job_%d_%d", i, k);
            j = make_job(id, i);
            if (r == 0)
                r = store_job_submit(s, &j, NULL);
        }
        if (r == 0)
            r = store_commit(s, NULL);
        else
            store_rollback(s);
        stored += r == 0 ? 5 : 0;
    }
    assert_int_equal(r, ERR_FULL);
    assert_true(stored > 0);
    assert_int_equal(count_jobs(s), stored);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(store_probe(s, NULL), 0);
    submit(s, "job_after", 3);
    assert_int_equal(count_jobs(s), stored + 1);
    store_close(s);
    s = open_store(0);
    assert_int_equal(count_jobs(s), stored + 1);
    store_close(s);
}

/* A blob that does not fit leaves neither a row nor a file. */
static void full_disk_for_a_blob(void **state)
{
    struct store *s = open_store(1000);
    struct digest key = key_of(5);
    uint8_t *v = xcalloc(1, 400000);
    struct buf b = BUF_INIT;
    uint64_t wal, cache, blobs = 9;
    char command[256];

    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    limit_file_size(300000);
    assert_true(store_cache_put(s, CACHE_FIT, &key, v, 400000, NULL) < 0);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(store_cache_find(s, CACHE_FIT, &key, &b, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_sizes(s, &wal, &cache, &blobs, NULL), 0);
    assert_int_equal(blobs, 0);
    snprintf(command, sizeof command, "test -z \"$(find %s/blobs -type f)\"", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(store_cache_put(s, CACHE_FIT, &key, v, 400000, NULL), 0);
    assert_int_equal(store_cache_find(s, CACHE_FIT, &key, &b, NULL), 0);
    assert_int_equal(b.len, 400000);
    buf_done(&b);
    free(v);
    store_close(s);
}

static void rollback_undoes_both(void **state)
{
    struct store *s = open_store(0);
    struct digest key = key_of(3);
    struct job_record j = make_job("job_twice", 1);
    struct buf b = BUF_INIT;

    (void)state;
    assert_int_equal(store_begin(s, NULL), 0);
    submit(s, "job_a", 1);
    put_value(s, 3, 10);
    store_rollback(s);
    assert_int_equal(count_jobs(s), 0);
    assert_int_equal(store_cache_find(s, CACHE_SPECTRUM, &key, &b, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_begin(s, NULL), 0);
    submit(s, "job_twice", 1); /* one bad statement does not spoil its group */
    assert_true(store_job_submit(s, &j, NULL) < 0);
    submit(s, "job_b", 2);
    assert_int_equal(store_commit(s, NULL), 0);
    assert_int_equal(count_jobs(s), 2);
    store_close(s);
}

/* SQLite may end a transaction when a write fails. The rest of the group must not then be stored
 * piece by piece. */
static void lost_transaction_fails_the_group(void **state)
{
    struct store *s = open_store(0);
    struct job_record j = make_job("job_b", 2);

    (void)state;
    assert_int_equal(store_begin(s, NULL), 0);
    submit(s, "job_a", 1);
    assert_int_equal(sqlite3_exec(sqlite_of(s)->state.handle, "ROLLBACK", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_true(store_job_submit(s, &j, NULL) < 0);
    assert_true(store_commit(s, NULL) < 0);
    assert_int_equal(count_jobs(s), 0);
    submit(s, "job_b", 2);
    assert_int_equal(count_jobs(s), 1);
    store_close(s);
}

/* Run SQL on a closed store's database. */
static void raw_sql(const char *name, const char *sql)
{
    char path[128];
    sqlite3 *db = NULL;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int64_t raw_number(const char *name, const char *sql)
{
    char path[128];
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    int64_t n;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    n = sqlite3_column_int64(st, 0);
    (void)sqlite3_finalize(st);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return n;
}

static void version_1_is_upgraded(void **state)
{
    struct store *s = open_store(1000);
    uint64_t wal, cache, blobs = 0;

    (void)state;
    submit(s, "job_kept", 1);
    put_value(s, 5, 1001);
    store_close(s);
    raw_sql("state.db",
            "DROP INDEX jobs_by_state; CREATE INDEX jobs_open ON jobs(state, created_ms,"
            " id) WHERE state IN ('queued','running','cancelling');"
            "PRAGMA user_version=1");
    raw_sql("cache.db", "DROP INDEX results_in_files; PRAGMA user_version=1");
    s = open_store(1000);
    assert_int_equal(state_of(s, "job_kept"), JOB_QUEUED);
    assert_int_equal(store_sizes(s, &wal, &cache, &blobs, NULL), 0);
    assert_int_equal(blobs, 1001);
    store_close(s);
    assert_int_equal(raw_number("state.db", "PRAGMA user_version"), 2);
    assert_int_equal(raw_number("cache.db", "PRAGMA user_version"), 2);
    assert_int_equal(
        raw_number("state.db", "SELECT count(*) FROM sqlite_schema WHERE name='jobs_open'"), 0);
}

static void files_are_set_up(void **state)
{
    struct store *s = open_store(0);
    struct stat st;
    char path[128];

    (void)state;
    store_close(s);
    assert_int_equal(raw_number("cache.db", "PRAGMA auto_vacuum"), 2);
    assert_int_equal(raw_number("cache.db", "PRAGMA application_id"), 0x5350464c);
    assert_int_equal(raw_number("state.db", "PRAGMA application_id"), 0x5350464c);
    assert_int_equal(raw_number("state.db", "SELECT journal_mode='wal' FROM pragma_journal_mode"),
                     1);
    snprintf(path, sizeof path, "%s/below", dir);
    s = NULL;
    assert_int_equal(store_open_sqlite(&(struct store_options){.dir = path}, &s, NULL), 0);
    store_close(s);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/no/such", dir);
    assert_true(store_open_sqlite(&(struct store_options){.dir = path}, &s, NULL) < 0);
    store_close(NULL);
}

static void foreign_or_damaged_state_is_refused(void **state)
{
    struct store_options opt = {.dir = dir};
    struct store *s = NULL;
    char command[256];

    (void)state;
    raw_sql("state.db", "CREATE TABLE theirs(x); PRAGMA user_version=1");
    assert_int_equal(store_open_sqlite(&opt, &s, NULL), ERR_UNSUPPORTED);
    assert_int_equal(raw_number("state.db", "SELECT count(*) FROM sqlite_schema"), 1);
    snprintf(command, sizeof command, "rm %s/state.db; head -c 8192 /dev/urandom > %s/state.db",
             dir, dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(store_open_sqlite(&opt, &s, NULL), ERR_IO);
    snprintf(command, sizeof command, "test $(stat -c %%s %s/state.db) = 8192", dir);
    assert_int_equal(system(command), 0);
}

static void big_log_is_cut(void **state)
{
    struct store *s = open_store(1 << 24);
    size_t len = 9 << 20;
    uint64_t before = 0, after = 0, cache, blobs;

    (void)state;
    for (uint8_t k = 1; k <= 8; k++)
        put_value(s, k, len);
    assert_int_equal(store_sizes(s, &before, &cache, &blobs, NULL), 0);
    assert_true(before > 64u << 20);
    assert_int_equal(blobs, 0);
    assert_int_equal(store_idle(s, NULL), 0);
    assert_int_equal(store_sizes(s, &after, &cache, &blobs, NULL), 0);
    assert_true(after < 1u << 20);
    assert_true(cache > 64u << 20);
    check_value(s, 8, len);
    store_close(s);
}

static struct analysis_record make_analysis(const char *id, const char *model, int64_t created)
{
    struct analysis_record a = {.owner = (char *)(uintptr_t) "local",
                                .labels = (char *)(uintptr_t) "{\"team\":\"x\"}",
                                .params = (char *)(uintptr_t) "{}",
                                .summary = (char *)(uintptr_t) "{\"alpha\":3}",
                                .rows = key_of(4),
                                .n_layers = 7,
                                .created_ms = created};

    snprintf(a.id, sizeof a.id, "%s", id);
    snprintf(a.model, sizeof a.model, "%s", model);
    snprintf(a.job, sizeof a.job, "job_1");
    return a;
}

static size_t count_analyses(struct store *s, struct page_query q)
{
    struct analysis_list l = {0};
    size_t n;

    assert_int_equal(store_analysis_list(s, &q, &l, NULL), 0);
    n = l.count;
    analysis_list_done(&l);
    return n;
}

static void analyses(void **state)
{
    struct store *s = open_store(0);
    struct analysis_record a = {0};
    struct page_query q = {.limit = 10};
    char last[IDENT_MAX] = "ana_9";

    (void)state;
    for (int i = 0; i < 5; i++) {
        char id[16];

        snprintf(id, sizeof id, "ana_%d", i);
        a = make_analysis(id, i % 2 ? "mdl_b" : "mdl_a", 50);
        assert_int_equal(store_analysis_put(s, &a, NULL), 0);
    }
    assert_true(store_analysis_put(s, &a, NULL) < 0); /* an id is used once */
    assert_int_equal(store_analysis_get(s, "ana_3", &a, NULL), 0);
    assert_string_equal(a.summary, "{\"alpha\":3}");
    assert_string_equal(a.job, "job_1");
    assert_int_equal(a.rows.b[31], 4);
    assert_int_equal(a.n_layers, 7);
    analysis_record_done(&a);
    assert_int_equal(store_analysis_get(s, "ana_x", &a, NULL), ERR_NOT_FOUND);
    assert_int_equal(count_analyses(s, q), 5);
    q.model = "mdl_a";
    assert_int_equal(count_analyses(s, q), 3);
    q.label_key = "team";
    q.label_value = "x";
    assert_int_equal(count_analyses(s, q), 3);
    q.label_value = "y";
    assert_int_equal(count_analyses(s, q), 0);
    q = (struct page_query){.limit = 2};
    for (size_t seen = 0; seen < 5;) {
        struct analysis_list l = {0};

        assert_int_equal(store_analysis_list(s, &q, &l, NULL), 0);
        assert_int_equal(l.count, seen < 4 ? 2 : 1);
        for (size_t i = 0; i < l.count; i++, seen++) {
            assert_true(strcmp(l.analysis[i].id, last) < 0);
            memcpy(last, l.analysis[i].id, sizeof last);
        }
        q.before_ms = 50;
        memcpy(q.before_id, last, sizeof last);
        analysis_list_done(&l);
    }
    store_close(s);
}

static void models(void **state)
{
    struct store *s = open_store(0);
    struct model_record m = {.format = (char *)(uintptr_t) "safetensors",
                             .model_type = (char *)(uintptr_t) "",
                             .name = (char *)(uintptr_t) "tiny",
                             .n_params = 1ull << 40,
                             .first_seen_ms = 5,
                             .last_seen_ms = 5},
                        got;
    struct page_query q = {.limit = 2};
    struct model_list l = {0};

    (void)state;
    for (char c = 'a'; c <= 'c'; c++) {
        snprintf(m.id, sizeof m.id, "mdl_%c", c);
        assert_int_equal(store_model_put(s, &m, NULL), 0);
    }
    m.first_seen_ms = m.last_seen_ms = 8; /* seen again */
    assert_int_equal(store_model_put(s, &m, NULL), 0);
    assert_int_equal(store_model_get(s, "mdl_c", &got, NULL), 0);
    assert_int_equal(got.first_seen_ms, 5);
    assert_int_equal(got.last_seen_ms, 8);
    assert_true(got.n_params == 1ull << 40);
    assert_string_equal(got.name, "tiny");
    model_record_done(&got);
    assert_int_equal(store_model_get(s, "mdl_x", &got, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_model_list(s, &q, &l, NULL), 0);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.model[0].id, "mdl_c");
    model_list_done(&l);
    q.before_ms = 5;
    snprintf(q.before_id, sizeof q.before_id, "mdl_b");
    assert_int_equal(store_model_list(s, &q, &l, NULL), 0);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.model[0].id, "mdl_a");
    model_list_done(&l);
    store_close(s);
}

/* A lease that ran out frees a job of another node; a renewed one does not. */
static void leases(void **state)
{
    struct store *s = open_store(0);
    struct job_record j = {0};
    uint64_t version;
    size_t n = 9;

    (void)state;
    submit(s, "job_a", 2);
    submit(s, "job_b", 1);
    assert_int_equal(store_job_claim(s, "far", NULL, 100, &j, NULL), 0);
    assert_string_equal(j.id, "job_b"); /* the oldest */
    version = j.version;
    job_record_done(&j);
    assert_int_equal(store_job_renew(s, "far", 200, NULL), 0);
    assert_int_equal(store_job_recover(s, "near", 150, &n, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(store_job_recover(s, "near", 201, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(store_job_progress(s, "job_b", 1, 1, 1, 0, 0, NULL), ERR_CONFLICT);
    assert_int_equal(store_job_claim(s, "near", "job_b", 300, &j, NULL), 0);
    assert_int_equal(j.attempt, 2);
    assert_int_equal(j.version, version + 2);
    assert_int_equal(store_job_progress(s, "job_b", 2, 4, 9, 1, 3, NULL), 0);
    job_record_done(&j);
    assert_int_equal(store_job_get(s, "job_b", &j, NULL), 0);
    assert_int_equal(j.version, version + 3);
    assert_int_equal(j.layers_done, 4);
    assert_int_equal(j.layers_total, 9);
    assert_int_equal(j.hits, 1);
    assert_int_equal(j.misses, 3);
    j.state = JOB_QUEUED; /* not an end */
    assert_true(store_job_finish(s, &j, NULL) < 0);
    assert_int_equal(state_of(s, "job_b"), JOB_RUNNING);
    job_record_done(&j);
    assert_int_equal(store_job_claim(s, "near", "job_b", 300, &j, NULL), ERR_NOT_FOUND);
    store_close(s);
}

static void names_and_copies(void **state)
{
    struct job_record j = make_job("job_a", 1), copy;

    (void)state;
    for (int i = 0; i < JOB_STATE_COUNT; i++) {
        assert_int_equal(job_state_from_name(job_state_name((enum job_state)i)), i);
        assert_int_equal(job_state_final((enum job_state)i), i >= JOB_SUCCEEDED);
    }
    assert_int_equal(job_state_from_name("Queued"), -1);
    job_record_copy(&copy, &j);
    assert_string_equal(copy.source, j.source);
    assert_ptr_not_equal(copy.source, j.source);
    assert_null(copy.error);
    job_record_done(&copy);
    assert_null(copy.source);
}

/* A child acknowledges every committed job through a pipe and is killed: all must be there. */
static void acknowledged_jobs_survive_a_kill(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
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
        assert_int_equal(read(pipe_fd[0], &n, sizeof n), sizeof n);
        acknowledged = n;
        usleep((useconds_t)(mono_ns() / 1000 % 120000)); /* anywhere in a commit */
        (void)kill(child, SIGKILL);
        while (read(pipe_fd[0], &n, sizeof n) == sizeof n)
            acknowledged = n;
        (void)close(pipe_fd[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
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
        STORE_TEST(full_disk_for_a_blob),
        STORE_TEST(rollback_undoes_both),
        STORE_TEST(lost_transaction_fails_the_group),
        STORE_TEST(version_1_is_upgraded),
        STORE_TEST(files_are_set_up),
        STORE_TEST(foreign_or_damaged_state_is_refused),
        STORE_TEST(big_log_is_cut),
        STORE_TEST(analyses),
        STORE_TEST(models),
        STORE_TEST(leases),
        cmocka_unit_test(names_and_copies),
        STORE_TEST(acknowledged_jobs_survive_a_kill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
