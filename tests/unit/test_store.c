/* test_store.c: the verbs of the store. */
#include "store_fixture.h"

#include <sys/stat.h>

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
    assert_int_equal(j.version, 3); /* submit, claim, finish; not progress */
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
    AUTO(freep)
    char *want =
        value ? xasprintf("[[\"%s\",\"%s\"]]", key, value) : xasprintf("[[\"%s\",null]]", key);
    struct job_query q = {.state = JOB_QUEUED, .labels = want, .limit = 9};
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
    struct job_record j;

    (void)state;
    submit(s, "job_a", 1);
    assert_int_equal(count_labelled(s, "run.a", "1"), 1);
    assert_int_equal(count_labelled(s, "q\\\"k", "2"), 1);
    assert_int_equal(count_labelled(s, "run.a", "2"), 0);
    assert_int_equal(count_labelled(s, "run", "1"), 0);
    assert_int_equal(count_labelled(s, "' OR 1=1 --", "1"), 0);
    assert_int_equal(count_labelled(s, "run.a", NULL), 1);
    assert_int_equal(count_labelled(s, "run.b", NULL), 0);
    assert_int_equal(count_labelled(s, "run.a\",\"1\"],[\"q\\\"k", "2"), 1);
    assert_int_equal(count_labelled(s, "run.a\",\"1\"],[\"q\\\"k", "3"), 0);
    assert_int_equal(store_job_label(s, "job_a", "{\"run.b\":\"7\"}", &j, NULL), 0);
    assert_string_equal(j.labels, "{\"run.b\":\"7\"}");
    assert_int_equal(j.version, 2);
    job_record_done(&j);
    assert_int_equal(count_labelled(s, "run.b", "7"), 1);
    assert_int_equal(store_job_label(s, "job_b", "{}", &j, NULL), ERR_NOT_FOUND);
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
        row[i] = (struct layer_row){.layer_id = i,
                                    .longname = (char *)(uintptr_t)(i == 1 ? "b" : "a"),
                                    .json = (char *)(uintptr_t) "{}",
                                    .has_spectrum = i == 1,
                                    .spectrum = key_of(7),
                                    .scale = 0.5};
    assert_int_equal(store_rows_put(s, &key, row, 3, NULL), 0);
    assert_int_equal(store_rows_put(s, &key, row, 3, NULL), 0);
    assert_int_equal(store_rows_count(s, &key, &n, NULL), 0);
    assert_int_equal(n, 3);
    assert_int_equal(store_rows_get(s, &key, 1, 10, &l, NULL), 0);
    assert_int_equal(l.count, 2);
    assert_int_equal(l.row[0].layer_id, 1);
    assert_true(l.row[0].has_spectrum && !l.row[1].has_spectrum);
    layer_row_list_done(&l);
    assert_int_equal(store_rows_find(s, &key, "b", &one, NULL), 0);
    assert_int_equal(one.layer_id, 1);
    assert_true(one.has_spectrum && one.scale == 0.5);
    assert_memory_equal(one.spectrum.b, key_of(7).b, DIGEST_LEN);
    layer_row_done(&one);
    assert_int_equal(store_rows_find(s, &key, "c", &one, NULL), ERR_NOT_FOUND);
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
    q.labels = "[[\"team\",\"x\"]]";
    assert_int_equal(count_analyses(s, q), 3);
    q.labels = "[[\"team\",\"y\"]]";
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

static void idempotency_keys(void **state)
{
    struct store *s = open_store(0);
    struct key_use use = {.operation = "createJob", .resource = "job_a", .created_ms = 100}, other;
    char id[IDENT_MAX] = "";

    (void)state;
    use.fingerprint = key_of(1);
    assert_int_equal(store_key_check(s, "me", "k", &use, id, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_key_put(s, "me", "k", &use, NULL), 0);
    assert_int_equal(store_key_put(s, "me", "k", &use, NULL), ERR_CONFLICT);
    assert_int_equal(store_key_check(s, "me", "k", &use, id, NULL), 0);
    assert_string_equal(id, "job_a");
    other = use;
    other.fingerprint = key_of(2);
    assert_int_equal(store_key_check(s, "me", "k", &other, id, NULL), ERR_KEY_REUSED);
    other = use;
    strcpy(other.operation, "addUpload");
    assert_int_equal(store_key_check(s, "me", "k", &other, id, NULL), ERR_KEY_REUSED);
    assert_int_equal(store_key_check(s, "you", "k", &use, id, NULL), ERR_NOT_FOUND);
    store_close(s);
    s = open_store(0);
    assert_int_equal(store_key_expire(s, 100, NULL), 0);
    assert_int_equal(store_key_check(s, "me", "k", &use, id, NULL), 0);
    assert_int_equal(store_key_expire(s, 101, NULL), 0);
    assert_int_equal(store_key_check(s, "me", "k", &use, id, NULL), ERR_NOT_FOUND);
    /* With the resource or not at all. */
    assert_int_equal(store_begin(s, NULL), 0);
    assert_int_equal(store_key_put(s, "me", "k", &use, NULL), 0);
    store_rollback(s);
    assert_int_equal(store_key_check(s, "me", "k", &use, id, NULL), ERR_NOT_FOUND);
    store_close(s);
}

static char *steps_of(struct store *s, const char *label, const char *value, size_t limit)
{
    struct series_query q = {.label = label,
                             .value = value,
                             .step_label = "step",
                             .after_value = "",
                             .after_id = "",
                             .limit = limit};
    AUTO(freep) char *after = NULL;
    char id[IDENT_MAX] = "";
    struct buf b = BUF_INIT;

    for (;;) {
        struct series_list l = {0};
        size_t n;

        assert_int_equal(store_series_list(s, &q, &l, NULL), 0);
        for (size_t i = 0; i < l.count; i++)
            buf_printf(&b, "%s=%s/%s ", l.step[i].analysis, l.step[i].value,
                       l.step[i].step ? l.step[i].step : "-");
        n = l.count;
        if (n) {
            free(after);
            q.after_value = after = xstrdup(l.step[n - 1].value);
            memcpy(id, l.step[n - 1].analysis, sizeof id);
            q.after_id = id;
        }
        series_list_done(&l);
        if (n < limit)
            break;
    }
    buf_put_u8(&b, '\0');
    return (char *)b.data;
}

static void check_steps(struct store *s, const char *label, const char *value, const char *want)
{
    for (size_t limit = 1; limit < 9; limit++) {
        AUTO(freep) char *got = steps_of(s, label, value, limit);

        assert_string_equal(got, want);
    }
}

static void series(void **state)
{
    static const char *const labels[] = {"{\"run\":\"b\",\"step\":\"1\"}",
                                         "{\"run\":\"a\",\"step\":\"10\"}",
                                         "{\"run\":\"a\"}",
                                         "{\"run\":\"\"}",
                                         "{\"step\":\"7\"}",
                                         "{\"run\":\"ab\",\"step\":\"1\"}"};
    struct store *s = open_store(0);
    struct analysis_record a;

    (void)state;
    for (int i = 0; i < 6; i++) {
        char id[16];

        snprintf(id, sizeof id, "ana_%d", i);
        a = make_analysis(id, "mdl_a", 50);
        a.labels = (char *)(uintptr_t)labels[i];
        assert_int_equal(store_analysis_put(s, &a, NULL), 0);
    }
    check_steps(s, "run", NULL, "ana_3=/- ana_1=a/10 ana_2=a/- ana_5=ab/1 ana_0=b/1 ");
    check_steps(s, "run", "a", "ana_1=a/10 ana_2=a/- ");
    check_steps(s, "run", "", "ana_3=/- ");
    check_steps(s, "run", "c", "");
    check_steps(s, "step", NULL, "ana_0=1/1 ana_5=1/1 ana_1=10/10 ana_4=7/7 ");
    assert_int_equal(store_analysis_label(s, "ana_2", "{\"run\":\"c\"}", &a, NULL), 0);
    assert_int_equal(a.version, 2);
    analysis_record_done(&a);
    check_steps(s, "run", "a", "ana_1=a/10 ");
    check_steps(s, "run", "c", "ana_2=c/- ");
    assert_int_equal(store_analysis_label(s, "ana_x", "{}", &a, NULL), ERR_NOT_FOUND);
    store_close(s);
}

static bool count_row(void *arg, const char *longname, const char *json, size_t len)
{
    struct buf *b = arg;

    assert_int_equal(strlen(json), len);
    buf_printf(b, "%s%s ", longname, json);
    return b->len < 14;
}

static void rows_one_by_one(void **state)
{
    struct store *s = open_store(0);
    struct layer_row row[3];
    struct digest key = key_of(1), other = key_of(2);
    struct buf b = BUF_INIT;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        row[i] = (struct layer_row){.layer_id = 2 - i,
                                    .longname = (char *)(uintptr_t)(i == 0   ? "c"
                                                                    : i == 1 ? "b"
                                                                             : "a"),
                                    .json = (char *)(uintptr_t) "{\"x\":1}"};
    assert_int_equal(store_rows_put(s, &key, row, 3, NULL), 0);
    assert_int_equal(store_rows_each(s, &other, count_row, &b, NULL), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(store_rows_each(s, &key, count_row, &b, NULL), 0);
    buf_put_u8(&b, '\0');
    assert_string_equal((char *)b.data, "a{\"x\":1} b{\"x\":1} "); /* stopped there */
    buf_done(&b);
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
    assert_int_equal(j.version, version + 2);
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

static struct upload_record make_upload(const char *id, int content, int64_t at)
{
    struct upload_record u = {.owner = (char *)(uintptr_t) "local",
                              .name = (char *)(uintptr_t) "m",
                              .kind = UPLOAD_FILE,
                              .nbytes = 100,
                              .n_files = 1,
                              .created_ms = at,
                              .expires_ms = at + 10};

    snprintf(u.id, sizeof u.id, "%s", id);
    memset(u.sha256.b, content, DIGEST_LEN);
    return u;
}

static void uploads(void **state)
{
    struct store *s = open_store(0);
    struct upload_record u = make_upload("upl_a", 1, 1), v = make_upload("upl_b", 1, 2),
                         w = make_upload("upl_c", 2, 3), got = {0};
    struct page_query q = {.limit = 2};
    struct upload_list l = {0};
    uint64_t bytes = 0;
    bool last = true, known = false;

    (void)state;
    w.kind = UPLOAD_TAR;
    assert_int_equal(store_upload_put(s, &u, NULL), 0);
    assert_int_equal(store_upload_put(s, &v, NULL), 0);
    assert_int_equal(store_upload_put(s, &w, NULL), 0);
    assert_int_equal(store_upload_bytes(s, &bytes, NULL), 0);
    assert_int_equal(bytes, 200); /* equal contents count once */
    assert_int_equal(store_upload_list(s, &q, &l, NULL), 0);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.upload[0].id, "upl_c");
    upload_list_done(&l);
    assert_int_equal(store_upload_known(s, UPLOAD_TAR, &u.sha256, &known, NULL), 0);
    assert_false(known);

    assert_int_equal(store_upload_keep(s, "upl_b", 50, NULL), 0);
    assert_int_equal(store_upload_keep(s, "upl_b", 40, NULL), 0);
    assert_int_equal(store_upload_expired(s, 30, 10, &l, NULL), 0);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.upload[0].id, "upl_a");
    assert_string_equal(l.upload[1].id, "upl_c");
    upload_list_done(&l);

    assert_int_equal(store_upload_remove(s, "upl_a", &got, &last, NULL), 0);
    assert_false(last);
    upload_record_done(&got);
    assert_int_equal(store_upload_remove(s, "upl_a", &got, &last, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_upload_remove(s, "upl_b", &got, &last, NULL), 0);
    assert_true(last);
    assert_true(digest_equal(&got.sha256, &u.sha256));
    upload_record_done(&got);
    store_close(s);
}

static void an_unfinished_job_holds_its_upload(void **state)
{
    struct store *s = open_store(0);
    struct upload_record u = make_upload("upl_a", 1, 1), got = {0};
    struct job_record j = make_job("job_a", 1);
    struct upload_list l = {0};
    bool last;

    (void)state;
    j.source = (char *)(uintptr_t) "{\"upload\":\"upl_a\"}";
    assert_int_equal(store_upload_put(s, &u, NULL), 0);
    assert_int_equal(store_job_submit(s, &j, NULL), 0);
    assert_int_equal(store_upload_remove(s, "upl_a", &got, &last, NULL), ERR_CONFLICT);
    assert_int_equal(store_upload_expired(s, 1000, 10, &l, NULL), 0);
    assert_int_equal(l.count, 0);
    assert_int_equal(store_upload_get(s, "upl_a", &got, NULL), 0);
    upload_record_done(&got);
    assert_int_equal(store_job_cancel(s, "job_a", 5, &j, NULL), 0);
    job_record_done(&j);
    assert_int_equal(store_upload_remove(s, "upl_a", &got, &last, NULL), 0);
    upload_record_done(&got);
    store_close(s);
}

static void put_artifact(struct store *s, const char *id, bool ours, uint64_t nbytes, int64_t at,
                         int64_t expires)
{
    struct artifact_record a = {.owner = (char *)(uintptr_t) "local",
                                .name = (char *)(uintptr_t) "m",
                                .path = (char *)(uintptr_t) "/x/m",
                                .ours = ours,
                                .manifest = (char *)(uintptr_t) "{}",
                                .nbytes = nbytes,
                                .n_files = 2,
                                .created_ms = at,
                                .expires_ms = expires};

    snprintf(a.id, sizeof a.id, "%s", id);
    snprintf(a.job, sizeof a.job, "job_%lld", (long long)at);
    assert_int_equal(store_artifact_put(s, &a, NULL), 0);
}

static void artifacts(void **state)
{
    struct store *s = open_store(0);
    struct page_query q = {.limit = 2};
    struct artifact_record got = {0};
    struct artifact_list l = {0};
    uint64_t nbytes = 0;

    (void)state;
    put_artifact(s, "art_a", true, 100, 1, 0);
    put_artifact(s, "art_b", false, 1000, 2, 5);
    put_artifact(s, "art_c", true, 50, 3, 10);
    put_artifact(s, "art_d", true, 60, 4, 0);
    assert_int_equal(store_artifact_get(s, "art_b", &got, NULL), 0);
    assert_true(!got.ours && got.nbytes == 1000 && got.n_files == 2 && got.expires_ms == 5);
    assert_string_equal(got.manifest, "{}");
    assert_string_equal(got.path, "/x/m");
    artifact_record_done(&got);
    assert_int_equal(store_artifact_list(s, &q, &l, NULL), 0);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.artifact[0].id, "art_d");
    assert_null(l.artifact[0].manifest);
    artifact_list_done(&l);

    /* By age: what is not ours is never removed. By bytes: the oldest, as many as needed. */
    assert_int_equal(store_artifact_expired(s, 11, 0, 10, &l, NULL), 0);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.artifact[0].id, "art_c");
    artifact_list_done(&l);
    assert_int_equal(store_artifact_expired(s, 1, 110, 10, &l, NULL), 0);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.artifact[0].id, "art_a");
    artifact_list_done(&l);

    assert_int_equal(store_artifact_bytes(s, &nbytes, NULL), 0);
    assert_int_equal(nbytes, 210);
    assert_int_equal(store_artifact_remove(s, "art_a", &got, NULL), 0);
    artifact_record_done(&got);
    assert_int_equal(store_artifact_bytes(s, &nbytes, NULL), 0);
    assert_int_equal(nbytes, 110);
    assert_int_equal(store_artifact_remove(s, "art_a", &got, NULL), ERR_NOT_FOUND);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(job_life),
        STORE_TEST(artifacts),
        STORE_TEST(uploads),
        STORE_TEST(an_unfinished_job_holds_its_upload),
        STORE_TEST(cancel_and_recover),
        STORE_TEST(paging),
        STORE_TEST(labels),
        STORE_TEST(files_and_rows),
        STORE_TEST(rollback_undoes_both),
        STORE_TEST(analyses),
        STORE_TEST(series),
        STORE_TEST(rows_one_by_one),
        STORE_TEST(models),
        STORE_TEST(idempotency_keys),
        STORE_TEST(leases),
        cmocka_unit_test(names_and_copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
