/* keys.c: the keys under way are as many as there are requests that carry one: a list will do. */
#include "daemon/keys.h"

#include "daemon/job.h"

#include <stdlib.h>
#include <string.h>

struct key {
    struct key *next;
    char *owner, *text;
};

static struct key **find(struct service *s, const char *owner, const char *text)
{
    struct key **p = &s->keys;

    while (*p && (strcmp((*p)->text, text) != 0 || strcmp((*p)->owner, owner) != 0))
        p = &(*p)->next;
    return p;
}

static void drop(struct key **p)
{
    struct key *k = *p;

    *p = k->next;
    free(k->owner);
    free(k->text);
    free(k);
}

int service_key_begin(struct service *s, const char *owner, const char *key, struct err *err)
{
    struct key *k;

    if (*find(s, owner, key))
        return err_set(err, ERR_IN_FLIGHT,
                       "another request with this Idempotency-Key is being worked on");
    k = xmalloc(sizeof *k);
    *k = (struct key){s->keys, xstrdup(owner), xstrdup(key)};
    s->keys = k;
    return 0;
}

void service_key_end(struct service *s, const char *owner, const char *key)
{
    struct key **p = find(s, owner, key);

    ASSERT(*p != NULL);
    drop(p);
}

void keys_free(struct service *s)
{
    while (s->keys)
        drop(&s->keys);
}
