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

/* Submit the job that `body` asks for, but for its source, on `path`: where the server can see it,
 * else by upload, whose id is then in *upload. Returns an exit status; *job and *upload are the
 * caller's. */
int submit_path(struct context *cx, const struct submit_settings *s, json_t *body, const char *path,
                char **upload, json_t **job);

/* Delete an upload that nobody needs any more: a job that goes on still does. `upload`, `job`: as
 * above, or NULL. */
void submit_end(struct context *cx, const struct submit_settings *s, const char *upload,
                const json_t *job);

#endif
