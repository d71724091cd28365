/* cmd_help.c: spectralctl help, and the overview */
#include "cli/commands.h"

void help_overview(FILE *out)
{
    size_t n;
    const struct command *const *all = commands_all(&n);

    fprintf(out, "Usage: spectralctl [OPTION]... COMMAND [ARGUMENT]...\n"
                 "How well is each layer of a neural network trained? Client of spectrald.\n\n"
                 "Commands:\n");
    for (size_t i = 0; i < n; i++)
        fprintf(out, "  %-24s%s\n", all[i]->args->name, all[i]->args->summary);
    fprintf(out, "\nOptions of every command:\n");
    args_help_options(&common_command, out);
    fprintf(out, "\nExit status:\n");
    for (size_t i = 0; i < n_exit_meanings; i++)
        fprintf(out, "  %-24d%s\n", exit_meanings[i].status, exit_meanings[i].meaning);
    fprintf(out, "\nspectralctl COMMAND --help tells more, and so does spectralctl(1).\n");
}

static const struct arg_command args = {
    .name = "help",
    .operands = "[COMMAND]",
    .max_operands = 1,
    .summary = "Explain a command.",
    .notes = "Example:\n  spectralctl help analyze\n",
};

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct command *cmd;

    (void)cx;
    (void)settings;
    if (operands->count == 0) {
        help_overview(stdout);
        return EXIT_DONE;
    }
    cmd = commands_find(operands->value[0]);
    if (!cmd)
        return command_misused("there is no command \"%s\"", operands->value[0]);
    args_help(cmd->args, &common_command, stdout);
    return EXIT_DONE;
}

const struct command command_help = {&args, 0, run};
