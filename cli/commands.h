/* commands.h: the commands of spectralctl, and what they share.
 *
 * Exit status: 0 done; 1 wrong usage, or the output cannot be written; 2 the server cannot be
 * reached or refused; 3 the job failed; 4 the job was cancelled; 130 interrupted.
 */
#ifndef SPECTRALCTL_COMMANDS_H
#define SPECTRALCTL_COMMANDS_H

#include "cli/args.h"
#include "cli/http.h"
#include "cli/term.h"

enum exit_status {
    EXIT_DONE = 0,
    EXIT_USAGE = 1,
    EXIT_SERVER = 2,
    EXIT_JOB_FAILED = 3,
    EXIT_JOB_CANCELLED = 4,
    EXIT_INTERRUPTED = 130,
};

struct context {
    struct http_client *http;
    struct term out, err;
    int interrupt_fd; /* readable after ^C */
};

struct command {
    const struct arg_command *args;
    size_t settings_size;
    int (*run)(struct context *cx, const void *settings, const struct arg_operands *operands);
};

/* The table of commands; borrowed, static. */
const struct command *const *commands_all(size_t *count);
extern const struct command command_analyze, command_jobs, command_show, command_cancel, command_rm;

/* Print an error and give the exit status that belongs to it. */
int command_failed(const struct context *cx, const struct err *err);

/* Indented, every digit of a number, a newline at the end. */
void command_print_json(const json_t *value);

/* GET or POST `path`; on failure prints and returns false. The caller owns *body. */
bool command_call(struct context *cx, const char *method, const char *path, json_t **body,
                  int *status);

/* Follow a job until it ends, with a progress display on stderr. *job is replaced by newer
 * versions. Returns an exit status; EXIT_INTERRUPTED after ^C. */
int follow_job(struct context *cx, json_t **job);

/* Print an analysis: table and summary, or one JSON object {"job", "analysis", "layers"}. `job`
 * is the one it came from, NULL when that is not at hand. */
int report_analysis(struct context *cx, const char *analysis_id, const json_t *job, bool as_json);

#endif
