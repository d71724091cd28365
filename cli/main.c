/* main.c: spectralctl: global options, then a command. */
#include "cli/commands.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

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

    term_probe(&cx.out, stdout, cs->color);
    term_probe(&cx.err, stderr, cs->color);
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
    const char *values[ARG_OPERANDS_MAX];
    struct arg_operands operands = {.value = values, .max = ARRAY_LEN(values)};
    const struct command *cmd;
    struct err err = {0};
    int used = 0;

    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* for widths only: the server speaks UTF-8 */
    if (check_utf8(argc, argv, &err) < 0)
        return usage(&err);
    if (args_parse(NULL, NULL, &common_command, &cs, argc - 1, argv + 1, &operands, &used, &err) <
        0)
        return usage(&err);
    if (cs.version) {
        printf("spectralctl %s\n", SPECTRALD_VERSION);
        return EXIT_DONE;
    }
    if (1 + used >= argc) {
        help_overview(cs.help ? stdout : stderr);
        return cs.help ? EXIT_DONE : EXIT_USAGE;
    }
    cmd = commands_find(argv[1 + used]);
    if (!cmd) {
        err_set(&err, ERR_INVALID, "there is no command \"%s\"", argv[1 + used]);
        return usage(&err);
    }
    AUTO(freep) void *settings = xcalloc(1, cmd->settings_size + 1);
    operands.count = 0;
    if (args_parse(cmd->args, settings, &common_command, &cs, argc - 2 - used, argv + 2 + used,
                   &operands, &used, &err) < 0) {
        if (!cs.help)
            return usage(&err);
    }
    if (cs.help) {
        args_help(cmd->args, &common_command, stdout);
        return EXIT_DONE;
    }
    return finish(run(cmd, &cs, settings, &operands));
}
