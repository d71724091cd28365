/* api_fake.h: the HTTP side over real sockets, with a service that the test controls.
 *
 * The server's loop runs in a thread; the test is the client. Jobs live in the fake service: it
 * reports exactly what a test tells it to, so long polls, refusals and late callbacks can be
 * tried in every order.
 */
#ifndef SPECTRALD_API_FAKE_H
#define SPECTRALD_API_FAKE_H

#include "api/server.h"
#include "common/ident.h"
#include "daemon/service.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FAKE_JOBS 32

/* --- the fake service ------------------------------------------------------------------------ */

struct job_watch {
    struct job_watch *next;
    job_cb *cb;
    void *arg;
};

struct fake_job {
    struct job_record rec;
    uint64_t change;
    bool active;
    struct job_watch *watches;
};

struct service {
    struct loop *loop;
    struct metrics *metrics;
    struct config config;
    struct fake_job job[FAKE_JOBS];
    size_t n_jobs, n_watches, n_pending;
    bool hold; /* keep callbacks back until fake_release() */
    struct pending *held;
    struct health health;
    struct store *store; /* a real one, used on the loop thread */
};

struct fake_job *fake_find(struct service *s, const char *id);

/* Raise the job's change count and tell watchers; a final state ends their watches. */
void fake_change(struct service *s, struct fake_job *j);

/* Let every callback that was held back come. */
void fake_release(struct service *s);

/* --- the server, in its own thread ------------------------------------------------------------ */

struct server {
    struct service svc;
    struct api *api;
    pthread_t thread;
    uint16_t port;
    char dir[64], address[128];
};

/* Both timeouts in seconds. */
void server_start(struct server *sv, const char *listen, unsigned request_s, unsigned idle_s);
/* Stop, and check that nothing was left behind: watches, callbacks, files. */
void server_stop(struct server *sv);

/* A server on a free loopback port and an empty store per test, with timeouts of 1 and 2 s;
 * *state is a struct server. */
int server_setup(void **state);
int server_teardown(void **state);
#define SERVER_TEST(fn) cmocka_unit_test_setup_teardown(fn, server_setup, server_teardown)

/* Run something on the loop thread and wait for it. */
void on_loop(struct server *sv, void (*run)(struct server *sv, void *arg), void *arg);

/* --- a client --------------------------------------------------------------------------------- */

struct got {
    int status; /* 0: the connection ended without a reply */
    char head[8192];
    char *body;
    size_t len;
};
void got_done(struct got *g);

int dial(const struct server *sv);
bool say(int fd, const char *text);
struct got hear(int fd);
struct got hear_as(int fd, bool head_only); /* of a HEAD request: no body follows */
bool closed_by_peer(int fd);

/* One request on a connection of its own. */
struct got ask(const struct server *sv, const char *text);
struct got get(const struct server *sv, const char *target, const char *headers);
struct got post(const struct server *sv, const char *body, const char *headers);
char *post_text(const char *body, const char *headers); /* of POST /v1/jobs; owned */

/* Value of a header, valid until the next call; "" when it is missing. */
const char *header(const struct got *g, const char *name);
json_t *parse(const struct got *g);
const char *text_of(const json_t *j, const char *key);

/* Every error must be a problem document that agrees with the reply around it. `pointer`: "",
 * "#/x" or "?parameter". Frees the reply. */
void assert_problem(struct got *g, int status, const char *code, const char *pointer);

/* Id and tag of the job in a reply, which is freed. */
void job_of(struct got *g, char id[IDENT_MAX], char etag[128]);

#endif
