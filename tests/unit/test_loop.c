/* test_loop.c: what other threads post is run in order, and never for long in one turn. */
#include "daemon/loop.h"

#include "common/ident.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define POSTS 40

struct seen {
    struct loop *loop;
    int posts, turns, turns_at_last;
    bool timer_between;
};

struct numbered {
    struct seen *seen;
    int number;
};

static void work_a_millisecond(void *arg)
{
    struct numbered *n = arg;
    int64_t end = mono_ns() + 1000000;

    assert_int_equal(n->seen->posts, n->number);
    n->seen->posts++;
    while (mono_ns() < end)
        continue;
    assert_true(loop_turn_ns(n->seen->loop) >= 1000000);
    if (n->seen->posts == POSTS) {
        n->seen->turns_at_last = n->seen->turns;
        loop_stop(n->seen->loop);
    }
}

static void on_timer(void *arg)
{
    struct seen *s = arg;

    s->timer_between = s->posts > 0 && s->posts < POSTS;
}

static void on_turn(void *arg, double seconds)
{
    struct seen *s = arg;

    (void)seconds;
    s->turns++;
}

static void long_posts(void **state)
{
    struct seen s = {.posts = 0};
    struct numbered n[POSTS];

    (void)state;
    assert_int_equal(loop_new(&s.loop, NULL), 0);
    loop_set_turn_hook(s.loop, on_turn, &s);
    for (int i = 0; i < POSTS; i++) {
        n[i] = (struct numbered){&s, i};
        loop_post(s.loop, work_a_millisecond, &n[i]);
    }
    (void)loop_after(s.loop, 10000000, on_timer, &s);
    loop_run(s.loop);
    assert_int_equal(s.posts, POSTS);
    assert_true(s.timer_between);
    assert_true(s.turns_at_last >= POSTS / 3); /* two, or hardly three, in 2 ms */
    loop_free(s.loop);
}

/* Whatever is left is freed with the loop. */
static void stop_early(void **state)
{
    struct seen s = {.posts = POSTS - 1};
    struct numbered n[POSTS];

    (void)state;
    assert_int_equal(loop_new(&s.loop, NULL), 0);
    for (int i = 0; i < POSTS; i++) {
        n[i] = (struct numbered){&s, POSTS - 1 + i};
        loop_post(s.loop, work_a_millisecond, &n[i]);
    }
    loop_run(s.loop);
    assert_true(s.posts < POSTS + 4);
    loop_post(s.loop, work_a_millisecond, &n[0]);
    loop_free(s.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_posts),
        cmocka_unit_test(stop_early),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
