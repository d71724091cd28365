/* main.c: spectralctl: global options, then a command. */
#include "cli/commands.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

struct common_settings {
    const char *server;
    bool help, version;
};

static const struct arg_option common_options[] = {
    {"server", ARG_TEXT, offsetof(struct common_settings, server), "URL",
     "http://HOST:PORT or unix:PATH (default $SPECTRALCTL_SERVER,\nelse " HTTP_SERVER_DEFAULT ")"},
    {"help", ARG_FLAG, offsetof(struct common_settings, help), NULL, "print help and exit"},
    {"version", ARG_FLAG, offsetof(struct common_settings, version), NULL,
     "print the version and exit"},
};
static const struct arg_command common = {
    .name = "",
    .operands = "COMMAND ...",
    .summary = "Command-line client of spectrald.",
    .notes = "",
    .options = common_options,
    .n_options = ARRAY_LEN(common_options),
};

static void print_overview(FILE *out)
{
    size_t n;
    const struct command *const *all = commands_all(&n);

    fprintf(out, "usage: spectralctl [OPTION]... COMMAND [ARGUMENT]...\n\n"
                 "How well is each layer of a neural network trained? Client of spectrald.\n\n"
                 "commands:\n");
    for (size_t i = 0; i < n; i++)
        fprintf(out, "  %-24s%s\n", all[i]->args->name, all[i]->args->summary);
    fprintf(out, "\noptions:\n");
    args_help_options(&common, out);
    fprintf(out, "\nexit status: 0 done; 1 wrong usage, or the output cannot be written; 2 server\n"
                 "unreachable or refusing; 3 job failed; 4 job cancelled; 130 interrupted.\n"
                 "spectralctl COMMAND --help tells more.\n");
}

static const struct command *find_command(const char *name)
{
    size_t n;
    const struct command *const *all = commands_all(&n);

    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i]->args->name, name) == 0)
            return all[i];
    return NULL;
}

/* ^C becomes readable: a call under way ends, and the job's id can still be told. */
static int catch_interrupts(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int run(const struct command *cmd, const struct common_settings *cs, const void *settings,
               const struct arg_operands *operands)
{
    const char *env = getenv("SPECTRALCTL_SERVER");
    const char *server = cs->server ? cs->server : env && *env ? env : HTTP_SERVER_DEFAULT;
    AUTO(http_client_freep) struct http_client *http = NULL;
    struct context cx = {.interrupt_fd = catch_interrupts()};
    struct err err = {0};

    term_probe(&cx.out, stdout);
    term_probe(&cx.err, stderr);
    if (http_client_new(server, &http, &err) < 0) {
        fprintf(stderr, "spectralctl: %s\n", err.text);
        return EXIT_USAGE;
    }
    http_client_set_interrupt(http, cx.interrupt_fd);
    cx.http = http;
    return cmd->run(&cx, settings, operands);
}

static int usage(const struct err *err)
{
    fprintf(stderr, "spectralctl: %s\nTry: spectralctl --help\n", err->text);
    return EXIT_USAGE;
}

/* A value that JSON cannot carry must not silently go missing from a request. */
static int check_utf8(int argc, char **argv, struct err *err)
{
    for (int i = 1; i < argc; i++) {
        json_auto_t *s = json_string(argv[i]);

        if (!s)
            return err_set(err, ERR_INVALID, "argument %d is not UTF-8", i);
    }
    return 0;
}

/* A full disk must not look like success. */
static int finish(int status)
{
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_DONE) {
        fprintf(stderr, "spectralctl: cannot write the output: %s\n", strerror(errno));
        return EXIT_USAGE;
    }
    return status;
}

int main(int argc, char **argv)
{
    struct common_settings cs = {0};
    const char *values[64];
    struct arg_operands operands = {.value = values, .max = ARRAY_LEN(values)};
    const struct command *cmd;
    struct err err = {0};
    int used = 0;

    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* for widths only: the server speaks UTF-8 */
    if (check_utf8(argc, argv, &err) < 0)
        return usage(&err);
    if (args_parse(NULL, NULL, &common, &cs, argc - 1, argv + 1, &operands, &used, &err) < 0)
        return usage(&err);
    if (cs.version) {
        printf("spectralctl %s\n", SPECTRALD_VERSION);
        return EXIT_DONE;
    }
    if (1 + used >= argc) {
        print_overview(cs.help ? stdout : stderr);
        return cs.help ? EXIT_DONE : EXIT_USAGE;
    }
    cmd = find_command(argv[1 + used]);
    if (!cmd) {
        err_set(&err, ERR_INVALID, "there is no command \"%s\"", argv[1 + used]);
        return usage(&err);
    }
    AUTO(freep) void *settings = xcalloc(1, cmd->settings_size + 1);
    operands.count = 0;
    if (args_parse(cmd->args, settings, &common, &cs, argc - 2 - used, argv + 2 + used, &operands,
                   &used, &err) < 0) {
        if (!cs.help)
            return usage(&err);
    }
    if (cs.help) {
        args_help(cmd->args, &common, stdout);
        return EXIT_DONE;
    }
    return finish(run(cmd, &cs, settings, &operands));
}
