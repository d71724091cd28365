/* actor.c: a mutex, a condition and a list. */
#include "daemon/actor.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct message {
    struct message *next;
    void (*run)(void *arg, void *state);
    actor_done *done;
    void *arg;
    struct err *err; /* owned; set when the group failed */
};

struct actor {
    struct loop *loop;
    void *state;
    struct actor_group group;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct message *queue, **tail;
    size_t depth;
    bool stop;
};

/* Wait for messages and take them all; NULL when the actor is to end. */
static struct message *take_group(struct actor *a)
{
    struct message *list;

    pthread_mutex_lock(&a->lock);
    while (!a->queue && !a->stop)
        pthread_cond_wait(&a->wake, &a->lock);
    list = a->queue;
    a->queue = NULL;
    a->tail = &a->queue;
    a->depth = 0;
    pthread_mutex_unlock(&a->lock);
    return list;
}

static void deliver(void *arg) /* on the loop thread */
{
    struct message *m = arg;

    if (m->done)
        m->done(m->arg, m->err);
    free(m->err);
    free(m);
}

/* Nothing has to be true of all of a group: nobody waits for the others. */
static void run_each(struct actor *a, struct message *list)
{
    while (list) {
        struct message *m = list;

        list = m->next;
        m->run(m->arg, a->state);
        loop_post(a->loop, deliver, m);
    }
}

static void run_group(struct actor *a, struct message *list)
{
    struct err err = {0};
    int r = 0;

    if (a->group.before)
        a->group.before(a->state);
    for (struct message *m = list; m; m = m->next)
        m->run(m->arg, a->state);
    r = a->group.after(a->state, &err);
    while (list) {
        struct message *m = list;

        list = m->next;
        if (r < 0) {
            m->err = xmalloc(sizeof err);
            *m->err = err;
        }
        loop_post(a->loop, deliver, m);
    }
}

static void *actor_main(void *arg)
{
    struct actor *a = arg;
    struct message *list;

    while ((list = take_group(a)) != NULL)
        (a->group.after ? run_group : run_each)(a, list);
    return NULL;
}

struct actor *actor_new(struct loop *loop, const char *name, void *state,
                        const struct actor_group *group)
{
    struct actor *a = xcalloc(1, sizeof *a);
    sigset_t all, old;

    a->loop = loop;
    a->state = state;
    a->group = *group;
    a->tail = &a->queue;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wake, NULL);
    /* Signals are the loop's business. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ASSERT(pthread_create(&a->thread, NULL, actor_main, a) == 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_setname_np(a->thread, name);
    return a;
}

void actor_send(struct actor *a, void (*run)(void *arg, void *state), actor_done *done, void *arg)
{
    struct message *m = xmalloc(sizeof *m);

    *m = (struct message){.run = run, .done = done, .arg = arg};
    pthread_mutex_lock(&a->lock);
    *a->tail = m;
    a->tail = &m->next;
    a->depth++;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
}

void actor_stop(struct actor *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->wake);
    free(a);
}

size_t actor_depth(struct actor *a)
{
    size_t n;

    pthread_mutex_lock(&a->lock);
    n = a->depth;
    pthread_mutex_unlock(&a->lock);
    return n;
}
