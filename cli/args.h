/* args.h: command lines, declared instead of parsed by hand.
 *
 * A command is a table of options that point into its own struct of settings. The same table
 * gives the help text and the completion of shells. Options may stand anywhere among the
 * operands; "--" ends them. A placeholder in lower case ("json|csv") is the list of the values
 * allowed. A letter means the same option in every command: args_letter().
 */
#ifndef SPECTRALCTL_ARGS_H
#define SPECTRALCTL_ARGS_H

#include <stdio.h>

#include "common/err.h"

enum arg_type {
    ARG_FLAG,  /* bool */
    ARG_TEXT,  /* const char *, borrowed from argv */
    ARG_COUNT, /* struct arg_count: a decimal number >= 0 */
    ARG_LIST,  /* struct arg_list: may be repeated */
};

#define ARG_LIST_MAX     64
#define ARG_OPERANDS_MAX 1024

struct arg_count {
    bool given;
    int64_t value;
};

struct arg_list {
    const char *value[ARG_LIST_MAX]; /* borrowed from argv */
    size_t count;
};

struct arg_option {
    const char *name; /* "max-evals", given as --max-evals */
    enum arg_type type;
    size_t offset;     /* in the settings struct */
    const char *value; /* placeholder of its value in the help, NULL for a flag; "a|b" = one of */
    const char *help;  /* lines separated by \n */
};

struct arg_command {
    const char *name;
    const char *operands; /* as shown: "PATH", "ID...", "" */
    size_t min_operands, max_operands;
    const char *summary; /* one line */
    const char *notes;   /* paragraphs printed after the options, or "" */
    const struct arg_option *options;
    size_t n_options;
};

/* What is left of argv after the options. */
struct arg_operands {
    const char **value; /* `max` of them, the caller's */
    size_t max, count;
};

/* Read argv[0…argc) into `settings` and `operands`. Options are looked up in `common` (relative
 * to `common_settings`) and then in `cmd`; `cmd` may be NULL: then the first operand ends the
 * parsing. Returns 0 and the number of arguments used in *used. */
int args_parse(const struct arg_command *cmd, void *settings, const struct arg_command *common,
               void *common_settings, int argc, char **argv, struct arg_operands *operands,
               int *used, struct err *err);

/* Usage, summary, options and notes of one command. */
void args_help(const struct arg_command *cmd, const struct arg_command *common, FILE *out);

/* The letter that is short for an option ('o' for "output"), 0 when there is none. */
char args_letter(const char *name);

/* True when a placeholder lists the values allowed ("json|csv"). */
bool args_is_choice(const char *placeholder);

/* The option lines of one table. */
void args_help_options(const struct arg_command *cmd, FILE *out);

#endif
