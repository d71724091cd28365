/* commands.h: the commands of spectralctl, and what they share. */
#ifndef SPECTRALCTL_COMMANDS_H
#define SPECTRALCTL_COMMANDS_H

#include "cli/args.h"
#include "cli/http.h"
#include "cli/term.h"

/* What each means is in exit_meanings, which help and the manual show. */
enum exit_status {
    EXIT_DONE = 0,
    EXIT_USAGE = 1,
    EXIT_SERVER = 2,
    EXIT_JOB_FAILED = 3,
    EXIT_JOB_CANCELLED = 4,
    EXIT_UNREACHABLE = 5,
    EXIT_INTERRUPTED = 130,
};

struct exit_meaning {
    int status;
    const char *meaning;
};
extern const struct exit_meaning exit_meanings[];
extern const size_t n_exit_meanings;

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

/* Options that every command has. */
struct common_settings {
    const char *server, *color;
    bool help, version;
};
extern const struct arg_command common_command;

/* The table of commands; borrowed, static. Help, completion and parsing all read it. */
const struct command *const *commands_all(size_t *count);
/* NULL when there is none of that name. */
const struct command *commands_find(const char *name);

extern const struct command command_analyze, command_artifact, command_artifacts, command_cancel,
    command_compare, command_trend, command_completion, command_distances, command_esd,
    command_experts, command_export, command_help, command_jobs, command_decode, command_label,
    command_plan, command_plot, command_prune, command_report, command_rm, command_schedule,
    command_series, command_show, command_simpson, command_smooth, command_traps, command_upload,
    command_uploads, command_watch;

/* What the program does, its commands and exit statuses. */
void help_overview(FILE *out);

/* GET `path` and print the reply as it is, or put it into a file `name` unless that is NULL. The
 * exit status. */
int command_print(struct context *cx, const char *path, const char *type, const char *name);

/* Print an error of a call and give the exit status that belongs to it. */
int command_failed(const struct context *cx, const struct err *err);

/* Print an error that the server has nothing to do with; EXIT_USAGE. */
int command_misused(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* The same for an error record. */
int command_failed_here(const struct err *err);

/* "interrupted"; EXIT_INTERRUPTED. */
int command_interrupted(void);

/* Indented, every digit of a number, a newline at the end. */
void command_print_json(const json_t *value);

/* The "warnings" of an answer, each a text or an object with a "detail", on stderr. */
void command_print_warnings(const struct context *cx, const json_t *reply);

/* Call `path`; on failure print why, set *status and return false. The caller owns *body, which
 * may be NULL when nobody wants it. */
bool command_call(struct context *cx, const char *method, const char *path, json_t **body,
                  int *status);

/* The same for any request; the caller frees *reply. */
bool command_request(struct context *cx, const struct http_request *rq, struct http_reply *reply,
                     int *status);

/* True when an id begins with `prefix` ("job_"). */
bool command_id_is(const char *id, const char *prefix);

/* Follow a job until it ends, with a progress display on stderr unless `quiet`. *job is replaced
 * by newer versions. Returns an exit status; EXIT_INTERRUPTED after ^C. */
int follow_job(struct context *cx, json_t **job, bool quiet);

/* The state is succeeded, failed or cancelled. */
bool follow_is_final(const json_t *job);

/* Exit status of a finished job; says on stderr why it did not succeed. */
int follow_status(const struct context *cx, const json_t *job);

/* Forms of an answer on stdout; at most one is asked for. */
struct output_form {
    bool json, csv, quiet;
};

/* False, after a message, when more than one is asked for. */
bool output_form_valid(const struct output_form *form);

/* Print an analysis: table and summary, {"job", "analysis", "layers"} as JSON, the layers as CSV,
 * or only its id (quiet). `columns` are what rows show, NULL for the usual ones. `job` is the one
 * it came from, NULL when that is not at hand. */
int report_analysis(struct context *cx, const char *analysis_id, const json_t *job,
                    const struct output_form *form, const char *columns);

#endif
