/* test_store_faults.c: crashes, damage, full disks, other processes, older files. */
#include "store_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* A group that could not begin is not stored piece by piece either. */
static void group_that_cannot_begin(void **state)
{
    struct store *s = open_store(0);
    struct job_record j = make_job("job_b", 2), got;

    (void)state;
    assert_int_equal(sqlite3_exec(sqlite_of(s)->state.handle, "BEGIN IMMEDIATE", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_true(store_begin(s, NULL) < 0);
    assert_int_equal(sqlite3_exec(sqlite_of(s)->state.handle, "ROLLBACK", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_true(store_job_submit(s, &j, NULL) < 0);
    assert_true(store_job_get(s, "job_b", &got, NULL) < 0);
    store_rollback(s);
    submit(s, "job_b", 2);
    assert_int_equal(count_jobs(s), 1);
    store_close(s);
}

/* Blob files that no row refers to, and halves of files, go when the store is opened. */
static void orphaned_blobs_are_removed(void **state)
{
    struct store *s = open_store(100);
    char command[512];
    int files;

    (void)state;
    put_value(s, 1, 1000);
    assert_int_equal(store_begin(s, NULL), 0);
    put_value(s, 2, 1000);
    store_rollback(s);
    store_close(s);
    snprintf(command, sizeof command,
             "cd %s/blobs/spectrum && d=$(ls | head -n 1) && touch $d/x.tmp && mkdir zz && "
             "cp $d/???* zz/ && exit $(find . -type f | wc -l)",
             dir);
    files = WEXITSTATUS(system(command));
    assert_int_equal(files, 2 + 1 + 2);
    s = open_store(100);
    check_value(s, 1, 1000);
    store_close(s);
    snprintf(command, sizeof command, "exit $(find %s/blobs -type f | wc -l)", dir);
    assert_int_equal(WEXITSTATUS(system(command)), 2); /* the copy in zz has a known name */
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

/* As the first release left it: a job and a value in a blob file. */
static void make_version_1(void)
{
    char sql[512];

    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=1", SQLITE_OWNER_ID);
    raw_sql("state.db", state_migrations[0]);
    raw_sql("state.db", sql);
    raw_sql("state.db", "INSERT INTO jobs VALUES('job_kept','analyze','local','queued',NULL,'{}',"
                        "'{}','{}',NULL,NULL,1,0,0,0,1,0,0,0,0,NULL,NULL);"
                        "INSERT INTO analyses VALUES('ana_kept','job_x','mdl_x','local',"
                        "'{\"run\":\"a\"}','{}','{}',zeroblob(32),1,1)");
    raw_sql("cache.db", cache_migrations[0]);
    raw_sql("cache.db", sql);
    raw_sql("cache.db", "INSERT INTO results VALUES(0, zeroblob(32), 1001, NULL, 1)");
}

static void version_1_is_upgraded(void **state)
{
    uint64_t wal, cache, blobs = 0;
    struct store *s;

    (void)state;
    make_version_1();
    s = open_store(1000);
    assert_int_equal(state_of(s, "job_kept"), JOB_QUEUED);
    assert_int_equal(store_sizes(s, &wal, &cache, &blobs, NULL), 0);
    assert_int_equal(blobs, 1001);
    store_close(s);
    assert_int_equal(raw_number("state.db", "PRAGMA user_version"), n_state_migrations);
    assert_int_equal(raw_number("cache.db", "PRAGMA user_version"), n_cache_migrations);
    assert_int_equal(
        raw_number("state.db", "SELECT count(*) FROM sqlite_schema WHERE name='jobs_open'"), 0);
    assert_int_equal(raw_number("state.db", "SELECT count(*) FROM analysis_labels WHERE key='run'"
                                            " AND value='a' AND analysis='ana_kept'"),
                     1);
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
    const struct CMUnitTest tests[] = {
        STORE_TEST(second_process_is_refused),
        STORE_TEST(damaged_cache_is_replaced),
        STORE_TEST(newer_schema_is_refused),
        STORE_TEST(full_disk),
        STORE_TEST(full_disk_for_a_blob),
        STORE_TEST(lost_transaction_fails_the_group),
        STORE_TEST(group_that_cannot_begin),
        STORE_TEST(orphaned_blobs_are_removed),
        STORE_TEST(version_1_is_upgraded),
        STORE_TEST(files_are_set_up),
        STORE_TEST(foreign_or_damaged_state_is_refused),
        STORE_TEST(big_log_is_cut),
        STORE_TEST(acknowledged_jobs_survive_a_kill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
