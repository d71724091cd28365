/* test_artifact_files.c: a directory appears whole or not at all, and a second attempt goes on. */
#include "storage/artifact_files.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/dirs.h"
#include "common/fdio.h"

static char *new_dir(void)
{
    char *dir = xstrdup("/tmp/artifact.XXXXXX");

    assert_non_null(mkdtemp(dir));
    return dir;
}

static void write_one(const struct artifact_writer *w, const char *name, const struct digest *key)
{
    char source[] = "/tmp/source.XXXXXX";
    AUTO(fd_close) int from = mkstemp(source);
    AUTO(fd_close) int to = -1;
    AUTO(fd_close) int memory = -1;
    void *map;
    struct err err;

    assert_true(from >= 0);
    (void)unlink(source);
    assert_int_equal(write(from, "abcdefghij", 10), 10);
    assert_int_equal(memfd_new("m", 4, &memory, &map, &err), 0);
    memcpy(map, "WXYZ", 4);
    (void)munmap(map, 4);
    assert_int_equal(artifact_file_create(w, name, 10, &to, &err), 0);
    assert_int_equal(artifact_copy(from, to, 0, 0, 3, &err), 0);
    assert_int_equal(artifact_copy(from, to, 7, 7, 3, &err), 0);
    assert_int_equal(artifact_put(memory, 0, to, 3, 4, &err), 0);
    assert_int_equal(artifact_file_finish(w, name, to, key, "a note", &err), 0);
}

static void is_file(const char *dir, const char *name, const char *want)
{
    AUTO(freep) char *path = xasprintf("%s/%s", dir, name);
    AUTO(fd_close) int fd = open(path, O_RDONLY);
    char got[64] = "";

    assert_true(fd >= 0);
    assert_int_equal(read(fd, got, sizeof got - 1), (ssize_t)strlen(want));
    assert_string_equal(got, want);
}

static void whole_or_not_at_all(void **state)
{
    AUTO(freep) char *dir = new_dir();
    AUTO(freep) char *path = xasprintf("%s/model", dir);
    struct digest key = {{1}}, other = {{2}};
    struct artifact_writer *w;
    struct stat st;
    struct err err;
    char *note;

    (void)state;
    assert_int_equal(artifact_writer_open(path, "job_a", &w, &err), 0);
    assert_int_equal(artifact_file_known(w, "x.bin", &key, &note, &err), ERR_NOT_FOUND);
    write_one(w, "x.bin", &key);
    artifact_writer_free(w);
    assert_true(lstat(path, &st) < 0);

    /* The next attempt finds what was finished, for the same key only. */
    assert_int_equal(artifact_writer_open(path, "job_a", &w, &err), 0);
    assert_int_equal(artifact_file_known(w, "x.bin", &other, &note, &err), ERR_NOT_FOUND);
    assert_int_equal(artifact_file_known(w, "x.bin", &key, &note, &err), 0);
    assert_string_equal(note, "a note");
    free(note);
    assert_int_equal(artifact_file_write(w, "plan.json", "{}", 2, &err), 0);
    assert_int_equal(artifact_publish(w, &err), 0);
    artifact_writer_free(w);
    is_file(path, "x.bin", "abcWXYZhij");
    is_file(path, "plan.json", "{}");

    /* Nothing is ever replaced; but a job that died before its end was known goes on. */
    assert_int_equal(artifact_writer_open(path, "job_b", &w, &err), ERR_CONFLICT);
    assert_int_equal(artifact_discard(path, "job_b", &err), 0);
    assert_int_equal(artifact_writer_open(path, "job_a", &w, &err), 0);
    assert_true(lstat(path, &st) < 0);
    assert_int_equal(artifact_file_known(w, "x.bin", &key, &note, &err), 0);
    free(note);
    assert_int_equal(artifact_publish(w, &err), 0);
    artifact_writer_free(w);
    assert_int_equal(artifact_discard(path, "job_a", &err), 0);
    is_file(path, "x.bin", "abcWXYZhij");
    assert_int_equal(artifact_writer_open(path, "job_a", &w, &err), ERR_CONFLICT);
    assert_int_equal(dir_remove(path, &err), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void a_name_taken_meanwhile(void **state)
{
    AUTO(freep) char *dir = new_dir();
    AUTO(freep) char *path = xasprintf("%s/model", dir);
    struct artifact_writer *w;
    struct err err;

    (void)state;
    assert_int_equal(artifact_writer_open(path, "job_a", &w, &err), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(artifact_publish(w, &err), ERR_CONFLICT);
    artifact_writer_free(w);
    assert_int_equal(artifact_discard(path, "job_a", &err), 0);
    assert_int_equal(artifact_discard(path, "job_a", &err), 0);
    assert_int_equal(artifact_writer_open(path, "job_a", &w, &err), ERR_CONFLICT);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

#define ID "00000000000000000000000001"

static bool is_art(void *arg, const char *id)
{
    (void)arg;
    return strcmp(id, "art_" ID) == 0;
}

static bool is_job(void *arg, const char *job)
{
    (void)arg;
    return strcmp(job, "job_x") == 0;
}

static void the_sweep_keeps_what_somebody_has(void **state)
{
    static const char *const keep[] = {"art_" ID, ".art_" ID ".job_x.tmp", ".a.b.job_x.done"};
    static const char *const go[] = {"art_00000000000000000000000002",
                                     "art_x",
                                     ".art_" ID ".job_y.tmp",
                                     ".job_x.tmp",
                                     ".art.job_x",
                                     ".job_x",
                                     "..tmp",
                                     "x.job_x.tmp"};
    const struct artifact_keep by = {is_art, is_job, NULL};
    AUTO(freep) char *top = new_dir();
    AUTO(freep) char *one = NULL;
    struct err err;

    (void)state;
    assert_int_equal(artifact_own_sweep(top, &by), 0);
    assert_int_equal(artifact_own_path(top, "art_" ID, &one, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(keep); i++) {
        AUTO(freep) char *path = xasprintf("%s/artifacts/%s", top, keep[i]);

        assert_int_equal(mkdir(path, 0700), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(go); i++) {
        AUTO(freep) char *path = xasprintf("%s/artifacts/%s", top, go[i]);
        AUTO(freep) char *below = xasprintf("%s/f", path);

        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(mkdir(below, 0700), 0);
    }
    assert_int_equal(artifact_own_sweep(top, &by), ARRAY_LEN(go));
    for (size_t i = 0; i < ARRAY_LEN(keep); i++) {
        AUTO(freep) char *path = xasprintf("%s/artifacts/%s", top, keep[i]);

        assert_int_equal(access(path, F_OK), 0);
    }
    assert_int_equal(artifact_own_remove(top, "art_" ID, &err), 0);
    assert_int_equal(access(one, F_OK), -1);
    assert_int_equal(artifact_own_remove(top, "art_" ID, &err), 0);
    assert_int_equal(dir_remove(top, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_or_not_at_all),
        cmocka_unit_test(a_name_taken_meanwhile),
        cmocka_unit_test(the_sweep_keeps_what_somebody_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
