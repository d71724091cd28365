/* loop.c: epoll, a timer list and a mailbox.
 *
 * Timers are few (one per running task, waiting request and periodic check), so a sorted list
 * beats a heap in clarity. The mailbox is the only part other threads touch.
 */
#include "daemon/loop.h"

#include "common/fdio.h"
#include "common/ident.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_PER_TURN 64

struct watch {
    struct watch *next;
    int fd; /* -1 once unwatched; freed after the turn */
    loop_fd_cb *cb;
    void *arg;
};

struct loop_timer {
    struct loop_timer *next; /* ascending by due_ns */
    int64_t due_ns;
    void (*cb)(void *arg);
    void *arg;
};

struct post {
    struct post *next;
    void (*cb)(void *arg);
    void *arg;
};

struct loop {
    int epoll_fd, wake_fd;
    struct watch *watches, *dead;
    struct loop_timer *timers;
    pthread_mutex_t lock; /* guards posts */
    struct post *posts, **posts_tail;
    struct post *taken; /* off that list, not yet run: before all others */
    int64_t (*idle_cb)(void *arg);
    void *idle_arg;
    void (*turn_cb)(void *arg, double seconds);
    void *turn_arg;
    double stall_max;
    int64_t turn_start;
    bool stopping;
};

/* Posts may take this long in a turn; those left come in the next one, after sockets and timers. */
#define POSTS_TURN_NS 2000000

static int64_t min_delay(int64_t a, int64_t b) /* negative means none */
{
    if (a < 0)
        return b;
    return b < 0 || a < b ? a : b;
}

static void on_wake(void *arg, uint32_t events)
{
    struct loop *l = arg;
    uint64_t n;

    (void)events;
    (void)!read(l->wake_fd, &n, sizeof n);
}

int loop_new(struct loop **out, struct err *err)
{
    struct loop *l = xcalloc(1, sizeof *l);

    l->posts_tail = &l->posts;
    pthread_mutex_init(&l->lock, NULL);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->epoll_fd < 0 || l->wake_fd < 0) {
        int e = errno;

        loop_free(l);
        return err_set_errno(err, e, "cannot create the event loop");
    }
    *out = l;
    return loop_watch(l, l->wake_fd, EPOLLIN, on_wake, l, err);
}

static void free_watches(struct watch **list)
{
    while (*list) {
        struct watch *w = *list;

        *list = w->next;
        free(w);
    }
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    free_watches(&l->watches);
    free_watches(&l->dead);
    while (l->timers)
        loop_cancel(l, l->timers);
    while (l->taken || l->posts) {
        struct post **first = l->taken ? &l->taken : &l->posts, *p = *first;

        *first = p->next;
        free(p);
    }
    fd_close(&l->epoll_fd);
    fd_close(&l->wake_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int loop_watch(struct loop *l, int fd, uint32_t events, loop_fd_cb *cb, void *arg, struct err *err)
{
    struct watch *w = xmalloc(sizeof *w);
    struct epoll_event ev = {.events = events, .data.ptr = w};

    *w = (struct watch){.next = l->watches, .fd = fd, .cb = cb, .arg = arg};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        int e = errno;

        free(w);
        return err_set_errno(err, e, "cannot watch a file descriptor");
    }
    l->watches = w;
    return 0;
}

void loop_unwatch(struct loop *l, int fd)
{
    for (struct watch **p = &l->watches; *p; p = &(*p)->next) {
        struct watch *w = *p;

        if (w->fd != fd)
            continue;
        (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        *p = w->next;
        w->fd = -1; /* an event of this very turn may still name it */
        w->next = l->dead;
        l->dead = w;
        return;
    }
}

struct loop_timer *loop_after(struct loop *l, int64_t delay_ns, void (*cb)(void *arg), void *arg)
{
    struct loop_timer *t = xmalloc(sizeof *t);
    struct loop_timer **p = &l->timers;

    *t = (struct loop_timer){.due_ns = mono_ns() + delay_ns, .cb = cb, .arg = arg};
    while (*p && (*p)->due_ns <= t->due_ns)
        p = &(*p)->next;
    t->next = *p;
    *p = t;
    return t;
}

void loop_cancel(struct loop *l, struct loop_timer *t)
{
    for (struct loop_timer **p = &l->timers; *p; p = &(*p)->next)
        if (*p == t) {
            *p = t->next;
            free(t);
            return;
        }
}

void loop_post(struct loop *l, void (*cb)(void *arg), void *arg)
{
    struct post *p = xmalloc(sizeof *p);
    uint64_t one = 1;

    *p = (struct post){.cb = cb, .arg = arg};
    pthread_mutex_lock(&l->lock);
    *l->posts_tail = p;
    l->posts_tail = &p->next;
    pthread_mutex_unlock(&l->lock);
    (void)!write(l->wake_fd, &one, sizeof one);
}

void loop_set_idle(struct loop *l, int64_t (*cb)(void *arg), void *arg)
{
    l->idle_cb = cb;
    l->idle_arg = arg;
}

void loop_set_turn_hook(struct loop *l, void (*cb)(void *arg, double seconds), void *arg)
{
    l->turn_cb = cb;
    l->turn_arg = arg;
}

int64_t loop_turn_ns(const struct loop *l)
{
    return mono_ns() - l->turn_start;
}

double loop_stall_max(struct loop *l, bool reset)
{
    double max = l->stall_max;

    if (reset)
        l->stall_max = 0;
    return max;
}

static struct post *take_posts(struct loop *l)
{
    struct post *list;

    pthread_mutex_lock(&l->lock);
    list = l->posts;
    l->posts = NULL;
    l->posts_tail = &l->posts;
    pthread_mutex_unlock(&l->lock);
    return list;
}

static void run_posts(struct loop *l)
{
    int64_t end = mono_ns() + POSTS_TURN_NS;

    if (!l->taken)
        l->taken = take_posts(l);
    while (l->taken && mono_ns() < end) {
        struct post *p = l->taken;

        l->taken = p->next;
        p->cb(p->arg);
        free(p);
    }
}

static void run_timers(struct loop *l)
{
    int64_t now = mono_ns();

    while (l->timers && l->timers->due_ns <= now) {
        struct loop_timer *t = l->timers;

        l->timers = t->next;
        t->cb(t->arg);
        free(t);
    }
}

static bool have_posts(struct loop *l)
{
    bool any;

    pthread_mutex_lock(&l->lock);
    any = l->posts || l->taken;
    pthread_mutex_unlock(&l->lock);
    return any;
}

static int sleep_ms(struct loop *l)
{
    int64_t wait = l->idle_cb ? l->idle_cb(l->idle_arg) : -1;

    if (l->timers) {
        int64_t due = l->timers->due_ns - mono_ns();

        wait = min_delay(wait, due > 0 ? due : 0);
    }
    if (have_posts(l) || l->stopping)
        return 0;
    if (wait < 0)
        return -1;
    return wait > 60000000000 ? 60000 : (int)((wait + 999999) / 1000000);
}

void loop_run(struct loop *l)
{
    struct epoll_event ev[EVENTS_PER_TURN];

    l->turn_start = mono_ns();
    while (!l->stopping) {
        int timeout = sleep_ms(l);
        double turn_s = (double)loop_turn_ns(l) * 1e-9;
        int n;

        if (turn_s > l->stall_max)
            l->stall_max = turn_s;
        if (l->turn_cb)
            l->turn_cb(l->turn_arg, turn_s);
        n = epoll_wait(l->epoll_fd, ev, EVENTS_PER_TURN, timeout);
        l->turn_start = mono_ns();
        ASSERT(n >= 0 || errno == EINTR);
        for (int i = 0; i < n; i++) {
            struct watch *w = ev[i].data.ptr;

            if (w->fd >= 0)
                w->cb(w->arg, ev[i].events);
        }
        run_posts(l);
        run_timers(l);
        free_watches(&l->dead);
    }
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
}
