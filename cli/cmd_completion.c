/* cmd_completion.c: spectralctl completion: what shells need to complete command lines, made from
 * the tables of commands and options, so that it cannot fall behind them. */
#include "cli/commands.h"

#include <string.h>

static const struct arg_command args = {
    .name = "completion",
    .operands = "bash|zsh|fish",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Print a completion script for a shell.",
    .notes = "Installed packages bring these scripts along. By hand:\n"
             "  source <(spectralctl completion bash)\n"
             "  spectralctl completion zsh > ~/.zfunc/_spectralctl\n"
             "  spectralctl completion fish > ~/.config/fish/completions/spectralctl.fish\n",
};

/* What may stand in a place, told by its placeholder. */
enum kind { KIND_NONE, KIND_FILES, KIND_CHOICE, KIND_COMMANDS, KIND_IDS };

static enum kind kind_of(const char *placeholder)
{
    if (!placeholder || !*placeholder)
        return KIND_NONE;
    if (args_is_choice(placeholder))
        return KIND_CHOICE;
    if (strstr(placeholder, "COMMAND"))
        return KIND_COMMANDS;
    if (strstr(placeholder, "JOB") || strstr(placeholder, "ARTIFACT"))
        return KIND_IDS;
    return strstr(placeholder, "PATH") || strstr(placeholder, "FILE") ? KIND_FILES : KIND_NONE;
}

/* Newest ids; uploads too where they may stand. */
static const char *ids_of(const char *placeholder)
{
    if (strstr(placeholder, "ARTIFACT"))
        return "(echo get rm; spectralctl artifacts --quiet) 2>/dev/null";
    return strstr(placeholder, "UPLOAD")
               ? "(spectralctl jobs --quiet; spectralctl uploads --quiet) 2>/dev/null"
               : "spectralctl jobs --quiet 2>/dev/null";
}

/* "a|b" as "a b". */
static void put_choices(const char *choices)
{
    for (; *choices; choices++)
        putchar(*choices == '|' ? ' ' : *choices);
}

/* First line of a help text, with a backslash before any of `special`; never a quote. */
static void put_text(const char *text, const char *special)
{
    for (; *text && *text != '\n'; text++) {
        if (*text == '\'')
            continue;
        if (strchr(special, *text))
            putchar('\\');
        putchar(*text);
    }
}

static void put_command_names(void)
{
    size_t n;
    const struct command *const *all = commands_all(&n);

    for (size_t i = 0; i < n; i++)
        printf("%s%s", i ? " " : "", all[i]->args->name);
}

/* --- bash ---------------------------------------------------------------------------------- */

static void bash_option_names(const struct arg_command *cmd)
{
    for (size_t i = 0; i < cmd->n_options; i++) {
        if (args_letter(cmd->options[i].name))
            printf(" -%c", args_letter(cmd->options[i].name));
        printf(" --%s", cmd->options[i].name);
    }
}

/* Patterns of "command,option" and what the option's value may be. */
static void bash_values(const struct arg_command *cmd)
{
    const char *name = *cmd->name ? cmd->name : "*";

    for (size_t i = 0; i < cmd->n_options; i++) {
        const struct arg_option *o = &cmd->options[i];

        if (!o->value)
            continue;
        printf("    %s,--%s", name, o->name);
        if (args_letter(o->name))
            printf(" | %s,-%c", name, args_letter(o->name));
        if (kind_of(o->value) == KIND_CHOICE) {
            printf(") COMPREPLY=($(compgen -W '");
            put_choices(o->value);
            printf("' -- \"$cur\")); return ;;\n");
        } else if (kind_of(o->value) == KIND_FILES) {
            printf(") compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n");
        } else {
            printf(") return ;;\n");
        }
    }
}

static void bash_operands(const struct arg_command *cmd)
{
    printf("    %s) ", cmd->name);
    switch (kind_of(cmd->operands)) {
    case KIND_FILES:
        printf("compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\"))");
        break;
    case KIND_CHOICE:
        printf("COMPREPLY=($(compgen -W '");
        put_choices(cmd->operands);
        printf("' -- \"$cur\"))");
        break;
    case KIND_COMMANDS:
        printf("COMPREPLY=($(compgen -W '");
        put_command_names();
        printf("' -- \"$cur\"))");
        break;
    case KIND_IDS:
        printf("COMPREPLY=($(compgen -W \"$(%s)\" -- \"$cur\"))", ids_of(cmd->operands));
        break;
    case KIND_NONE:
        break;
    }
    printf(" ;;\n");
}

static void print_bash(const struct command *const *all, size_t n)
{
    printf("# bash completion of spectralctl\n"
           "_spectralctl() {\n"
           "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd= i\n"
           "  COMPREPLY=()\n"
           "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
           "    case ${COMP_WORDS[i]} in\n"
           "    --server | --color) ((i++)) ;;\n"
           "    -*) ;;\n"
           "    *) cmd=${COMP_WORDS[i]}; break ;;\n"
           "    esac\n"
           "  done\n"
           "  case $cmd,$prev in\n");
    bash_values(&common_command);
    for (size_t i = 0; i < n; i++)
        bash_values(all[i]->args);
    printf("  esac\n"
           "  if [[ -z $cmd ]]; then\n"
           "    COMPREPLY=($(compgen -W '");
    put_command_names();
    bash_option_names(&common_command);
    printf("' -- \"$cur\"))\n    return\n  fi\n"
           "  if [[ $cur == -* ]]; then\n"
           "    case $cmd in\n");
    for (size_t i = 0; i < n; i++) {
        printf("    %s) COMPREPLY=($(compgen -W '", all[i]->args->name);
        bash_option_names(all[i]->args);
        bash_option_names(&common_command);
        printf("' -- \"$cur\")) ;;\n");
    }
    printf("    esac\n    return\n  fi\n  case $cmd in\n");
    for (size_t i = 0; i < n; i++)
        bash_operands(all[i]->args);
    printf("  esac\n}\ncomplete -F _spectralctl spectralctl\n");
}

/* --- zsh ----------------------------------------------------------------------------------- */

static void zsh_action(const char *placeholder)
{
    switch (kind_of(placeholder)) {
    case KIND_FILES:
        printf("_files");
        break;
    case KIND_CHOICE:
        printf("(");
        put_choices(placeholder);
        printf(")");
        break;
    case KIND_COMMANDS:
        printf("(");
        put_command_names();
        printf(")");
        break;
    case KIND_IDS:
        printf("($(%s))", ids_of(placeholder));
        break;
    case KIND_NONE:
        printf(" ");
        break;
    }
}

static void zsh_options(const struct arg_command *cmd)
{
    for (size_t i = 0; i < cmd->n_options; i++) {
        const struct arg_option *o = &cmd->options[i];
        char letter = args_letter(o->name);

        if (o->type == ARG_LIST)
            printf(" \\\n      '*--%s", o->name);
        else if (letter)
            printf(" \\\n      '(-%c --%s)'{-%c,--%s}'", letter, o->name, letter, o->name);
        else
            printf(" \\\n      '--%s", o->name);
        printf("[");
        put_text(o->help, "[]:");
        printf("]");
        if (o->value) {
            printf(":");
            put_text(o->value, "[]:");
            printf(":");
            zsh_action(o->value);
        }
        printf("'");
    }
}

static void print_zsh(const struct command *const *all, size_t n)
{
    printf("#compdef spectralctl\n# zsh completion of spectralctl\n"
           "_spectralctl() {\n"
           "  local curcontext=$curcontext state line\n"
           "  local -a commands\n"
           "  commands=(\n");
    for (size_t i = 0; i < n; i++) {
        printf("    '%s:", all[i]->args->name);
        put_text(all[i]->args->summary, ":");
        printf("'\n");
    }
    printf("  )\n  _arguments -C");
    zsh_options(&common_command);
    printf(" \\\n      '1:command:->command' '*::argument:->argument'\n"
           "  case $state in\n"
           "  command) _describe command commands ;;\n"
           "  argument)\n"
           "    case $words[1] in\n");
    for (size_t i = 0; i < n; i++) {
        const struct arg_command *cmd = all[i]->args;

        printf("    %s) _arguments", cmd->name);
        zsh_options(cmd);
        zsh_options(&common_command);
        if (*cmd->operands) {
            printf(" \\\n      '*:");
            put_text(cmd->operands, "[]:");
            printf(":");
            zsh_action(cmd->operands);
            printf("'");
        }
        printf(" ;;\n");
    }
    printf("    esac ;;\n  esac\n}\n"
           "if [[ $funcstack[1] == _spectralctl ]]; then\n  _spectralctl \"$@\"\n"
           "else\n  compdef _spectralctl spectralctl\nfi\n");
}

/* --- fish ---------------------------------------------------------------------------------- */

/* The shell has no subshells; it splits words at newlines only. */
static const char *fish_ids_of(const char *placeholder)
{
    if (strstr(placeholder, "ARTIFACT"))
        return "string split \" \" \"get rm\"; spectralctl artifacts --quiet 2>/dev/null";
    if (strstr(placeholder, "UPLOAD"))
        return "spectralctl jobs --quiet 2>/dev/null; spectralctl uploads --quiet 2>/dev/null";
    return "spectralctl jobs --quiet 2>/dev/null";
}

static void fish_action(const char *placeholder)
{
    switch (kind_of(placeholder)) {
    case KIND_FILES:
        printf(" -F");
        break;
    case KIND_CHOICE:
        printf(" -a '");
        put_choices(placeholder);
        printf("'");
        break;
    case KIND_COMMANDS:
        printf(" -a '");
        put_command_names();
        printf("'");
        break;
    case KIND_IDS:
        printf(" -a '(%s)'", fish_ids_of(placeholder));
        break;
    case KIND_NONE:
        break;
    }
}

static void fish_options(const struct arg_command *cmd, const char *condition)
{
    for (size_t i = 0; i < cmd->n_options; i++) {
        const struct arg_option *o = &cmd->options[i];

        printf("complete -c spectralctl%s%s", *condition ? " -n " : "", condition);
        if (args_letter(o->name))
            printf(" -s %c", args_letter(o->name));
        printf(" -l %s", o->name);
        if (o->value)
            printf(kind_of(o->value) == KIND_FILES ? " -r" : " -x");
        if (o->value)
            fish_action(o->value);
        printf(" -d '");
        put_text(o->help, "");
        printf("'\n");
    }
}

static void print_fish(const struct command *const *all, size_t n)
{
    printf("# fish completion of spectralctl\ncomplete -c spectralctl -f\n");
    fish_options(&common_command, "");
    for (size_t i = 0; i < n; i++) {
        const struct arg_command *cmd = all[i]->args;
        AUTO(freep)
        char *condition = xasprintf("'__fish_seen_subcommand_from %s'", cmd->name);

        printf("complete -c spectralctl -n __fish_use_subcommand -a %s -d '", cmd->name);
        put_text(cmd->summary, "");
        printf("'\n");
        fish_options(cmd, condition);
        if (kind_of(cmd->operands) == KIND_NONE)
            continue;
        printf("complete -c spectralctl -n %s", condition);
        fish_action(cmd->operands);
        printf("\n");
    }
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const char *shell = operands->value[0];
    size_t n;
    const struct command *const *all = commands_all(&n);

    (void)cx;
    (void)settings;
    if (strcmp(shell, "bash") == 0)
        print_bash(all, n);
    else if (strcmp(shell, "zsh") == 0)
        print_zsh(all, n);
    else if (strcmp(shell, "fish") == 0)
        print_fish(all, n);
    else
        return command_misused("completion is for bash, zsh or fish, not \"%s\"", shell);
    return EXIT_DONE;
}

const struct command command_completion = {&args, 0, run};
