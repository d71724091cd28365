/* flights.c: a short list of what is under way, a tree of what has landed. */
#include "daemon/flights.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct flight {
    struct flight *next;
    struct digest key;
    const void *who;
};

struct flights {
    struct flight *under_way; /* as many as there are workers, and a few being stored */
    void *landed;             /* tree of struct digest */
    size_t n_landed;
};

struct flights *flights_new(void)
{
    return xcalloc(1, sizeof(struct flights));
}

void flights_free(struct flights *f)
{
    if (!f)
        return;
    while (f->under_way)
        (void)flights_leave(f, f->under_way->who);
    flights_clear_landed(f);
    free(f);
}

static struct flight **find(struct flights *f, const struct digest *key)
{
    struct flight **p = &f->under_way;

    while (*p && !digest_equal(&(*p)->key, key))
        p = &(*p)->next;
    return p;
}

void flights_begin(struct flights *f, const struct digest *key, const void *who)
{
    struct flight **p = find(f, key);

    if (*p)
        return;
    *p = xmalloc(sizeof **p);
    **p = (struct flight){.key = *key, .who = who};
}

bool flights_busy(const struct flights *f, const struct digest *key, const void *who)
{
    for (const struct flight *p = f->under_way; p; p = p->next)
        if (digest_equal(&p->key, key))
            return p->who != who;
    return false;
}

bool flights_end(struct flights *f, const struct digest *key, const void *who)
{
    struct flight **p = find(f, key);
    struct flight *old = *p;

    if (!old || old->who != who)
        return false;
    *p = old->next;
    free(old);
    return true;
}

bool flights_leave(struct flights *f, const void *who)
{
    bool any = false;

    for (struct flight **p = &f->under_way; *p;) {
        struct flight *old = *p;

        if (old->who != who) {
            p = &old->next;
            continue;
        }
        *p = old->next;
        free(old);
        any = true;
    }
    return any;
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(((const struct digest *)a)->b, ((const struct digest *)b)->b, DIGEST_LEN);
}

void flights_land(struct flights *f, const struct digest *key)
{
    struct digest *copy;

    if (f->n_landed >= FLIGHTS_LANDED_MAX || flights_landed(f, key))
        return;
    copy = xmalloc(sizeof *copy);
    *copy = *key;
    ASSERT(tsearch(copy, &f->landed, compare_keys) != NULL);
    f->n_landed++;
}

bool flights_landed(const struct flights *f, const struct digest *key)
{
    return tfind(key, &f->landed, compare_keys) != NULL;
}

void flights_clear_landed(struct flights *f)
{
    while (f->landed) {
        struct digest *key = *(struct digest **)f->landed;

        (void)tdelete(key, &f->landed, compare_keys);
        free(key);
    }
    f->n_landed = 0;
}
