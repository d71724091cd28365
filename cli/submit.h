/* submit.h: a job on a path: of the server's, or of this machine's and uploaded. */
#ifndef SPECTRALCTL_SUBMIT_H
#define SPECTRALCTL_SUBMIT_H

#include "cli/commands.h"

struct submit_settings {
    bool upload;      /* without asking whether the server sees the path */
    bool no_upload;   /* the path is the server's */
    bool keep_upload; /* when the job is over */
    bool quiet;
};

/* The rows of these options, for a table of a command whose settings have one at `offset`. */
#define SUBMIT_OPTIONS(offset)                                                                     \
    {"upload", ARG_FLAG, (offset) + offsetof(struct submit_settings, upload), NULL,                \
     "upload without asking whether the server sees PATH"},                                        \
        {"no-upload", ARG_FLAG, (offset) + offsetof(struct submit_settings, no_upload), NULL,      \
         "never upload: PATH is the server's"},                                                    \
    {                                                                                              \
        "keep-upload", ARG_FLAG, (offset) + offsetof(struct submit_settings, keep_upload), NULL,   \
            "leave the upload on the server until it expires"                                      \
    }

/* False, after a message, when they contradict one another. */
bool submit_valid(const struct submit_settings *s);

/* A path that a job reads: where the server can see it, else by upload. */
struct submit_file {
    const char *path;
    json_t *in;          /* borrowed: the object that gets the member `key` */
    json_t *also;        /* another one, or NULL */
    const char *key;     /* "source" */
    const char *pointer; /* of that member, in a refusal */
    char *upload;        /* its id once there is one, else NULL; free with submit_end() */
};
#define SUBMIT_FILES_MAX 4

/* Submit the job that `body` asks for, but for its files. Returns an exit status; *job is the
 * caller's. What was uploaded meanwhile stays, whatever is returned, until submit_end(). */
int submit_files(struct context *cx, const struct submit_settings *s, json_t *body,
                 struct submit_file *file, size_t n_files, json_t **job);

/* The same for a job that reads one file, its source. */
#define SUBMIT_SOURCE(of, body_)                                                                   \
    {                                                                                              \
        .path = (of), .in = (body_), .key = "source", .pointer = "#/source"                        \
    }

/* Delete uploads that nobody needs any more: a job that goes on still does. `job`: or NULL. */
void submit_end(struct context *cx, const struct submit_settings *s, struct submit_file *file,
                size_t n_files, const json_t *job);

#endif
