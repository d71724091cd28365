/* actor.h: a thread that runs messages one after another and shares no state with the loop.
 *
 * Used for the two things that may block: SQLite (the store thread) and the file system (the file
 * thread). A message's `arg` belongs to the actor from actor_send() until `done` is called on the
 * loop thread.
 */
#ifndef SPECTRALD_ACTOR_H
#define SPECTRALD_ACTOR_H

#include "daemon/loop.h"

struct actor;

/* What to do around a group of messages: everything queued at one moment runs as one group, and
 * `done` of every message waits until `after` has returned. When `after` fails (a commit), every
 * message of the group is told. Without `after` (NULL) there are no groups, and no `before`. */
struct actor_group {
    void (*before)(void *state);
    int (*after)(void *state, struct err *err);
};

/* `err` is NULL, or why the group failed; borrowed. */
typedef void actor_done(void *arg, const struct err *err);

/* Start a thread named `name`. `state` (borrowed) is passed to every message and group hook. */
struct actor *actor_new(struct loop *loop, const char *name, void *state,
                        const struct actor_group *group);

/* Queue `run(arg, state)` on the actor, then `done(arg)` on the loop; `done` may be NULL. */
void actor_send(struct actor *a, void (*run)(void *arg, void *state), actor_done *done, void *arg);

/* Run what is queued, stop the thread and release the actor. The loop must still be there, but
 * `done` of the last messages is only called if it runs again. */
void actor_stop(struct actor *a);

/* Messages not yet run; from any thread. */
size_t actor_depth(struct actor *a);

#endif
