/* args.c: see args.h. */
#include "cli/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HELP_COLUMN 26

struct source {
    const struct arg_command *table;
    char *settings;
};

static const struct {
    char letter;
    const char *name;
} letters[] = {{'h', "help"}, {'o', "output"}, {'q', "quiet"}};

char args_letter(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(letters); i++)
        if (strcmp(letters[i].name, name) == 0)
            return letters[i].letter;
    return 0;
}

bool args_is_choice(const char *placeholder)
{
    return placeholder && strchr(placeholder, '|') &&
           placeholder[strspn(placeholder, "abcdefghijklmnopqrstuvwxyz0123456789-_|")] == '\0';
}

/* True when `text` is one of "a|b|c". */
static bool is_one_of(const char *choices, const char *text)
{
    size_t len = strlen(text);

    for (const char *c = choices; c; c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL)
        if (strcspn(c, "|") == len && memcmp(c, text, len) == 0)
            return true;
    return false;
}

static const struct arg_option *find(const struct source *src, size_t n, const char *name,
                                     size_t len, char **settings)
{
    for (size_t s = 0; s < n; s++) {
        if (!src[s].table)
            continue;
        for (size_t i = 0; i < src[s].table->n_options; i++) {
            const struct arg_option *o = &src[s].table->options[i];

            if (strlen(o->name) == len && memcmp(o->name, name, len) == 0) {
                *settings = src[s].settings;
                return o;
            }
        }
    }
    return NULL;
}

static int set_count(struct arg_count *out, const char *name, const char *text, struct err *err)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (errno || *end || end == text || v < 0 || strchr(" +-", *text))
        return err_set(err, ERR_INVALID, "--%s wants a whole number, not \"%s\"", name, text);
    *out = (struct arg_count){true, v};
    return 0;
}

static int set(const struct arg_option *o, char *settings, const char *text, struct err *err)
{
    void *at = settings + o->offset;

    if (args_is_choice(o->value) && !is_one_of(o->value, text))
        return err_set(err, ERR_INVALID, "--%s wants one of %s, not \"%s\"", o->name, o->value,
                       text);
    switch (o->type) {
    case ARG_FLAG:
        *(bool *)at = true;
        return 0;
    case ARG_TEXT:
        *(const char **)at = text;
        return 0;
    case ARG_COUNT:
        return set_count(at, o->name, text, err);
    case ARG_LIST: {
        struct arg_list *list = at;

        if (list->count == ARG_LIST_MAX)
            return err_set(err, ERR_LIMIT, "--%s is given more than %d times", o->name,
                           ARG_LIST_MAX);
        list->value[list->count++] = text;
        return 0;
    }
    }
    return 0;
}

/* The option that argv[0] names; *value is what stands behind '=', or NULL. */
static const struct arg_option *option_named(const struct source *src, size_t n_src,
                                             const char *arg, const char **value, char **settings)
{
    const char *name = arg + 2;
    size_t len = strcspn(name, "=");

    *value = NULL;
    if (arg[1] == '-') {
        *value = name[len] == '=' ? name + len + 1 : NULL;
        return find(src, n_src, name, len, settings);
    }
    for (size_t i = 0; arg[2] == '\0' && i < ARRAY_LEN(letters); i++)
        if (letters[i].letter == arg[1])
            return find(src, n_src, letters[i].name, strlen(letters[i].name), settings);
    return NULL;
}

/* One option at argv[0]; returns how many arguments it took, or an error. */
static int take_option(const struct source *src, size_t n_src, int argc, char **argv,
                       struct err *err)
{
    const struct arg_option *o;
    const char *value;
    char *settings;
    int r;

    o = option_named(src, n_src, argv[0], &value, &settings);
    if (!o)
        return err_set(err, ERR_INVALID, "unknown option %.*s", (int)strcspn(argv[0], "="),
                       argv[0]);
    if (o->type == ARG_FLAG && value)
        return err_set(err, ERR_INVALID, "--%s takes no value", o->name);
    if (o->type != ARG_FLAG && !value && argc < 2)
        return err_set(err, ERR_INVALID, "--%s wants a value (%s)", o->name, o->value);
    r = set(o, settings, value ? value : o->type == ARG_FLAG ? NULL : argv[1], err);
    if (r < 0)
        return r;
    return o->type == ARG_FLAG || value ? 1 : 2;
}

static int check_operands(const struct arg_command *cmd, const struct arg_operands *ops,
                          struct err *err)
{
    if (ops->count < cmd->min_operands)
        return err_set(err, ERR_INVALID, "%s wants %s", cmd->name, cmd->operands);
    return 0;
}

int args_parse(const struct arg_command *cmd, void *settings, const struct arg_command *common,
               void *common_settings, int argc, char **argv, struct arg_operands *operands,
               int *used, struct err *err)
{
    const struct source src[] = {{common, common_settings}, {cmd, settings}};
    bool options = true;
    int i = 0;

    while (i < argc) {
        const char *a = argv[i];

        if (options && strcmp(a, "--") == 0) {
            options = false;
            i++;
        } else if (options && a[0] == '-' && a[1]) {
            int r = take_option(src, ARRAY_LEN(src), argc - i, argv + i, err);

            if (r < 0)
                return r;
            i += r;
        } else if (!cmd) {
            break;
        } else {
            if (operands->count == operands->max || operands->count == cmd->max_operands)
                return err_set(err, ERR_INVALID, "one operand too many: \"%s\"", a);
            operands->value[operands->count++] = a;
            i++;
        }
    }
    *used = i;
    return cmd ? check_operands(cmd, operands, err) : 0;
}

void args_help_options(const struct arg_command *cmd, FILE *out)
{
    for (size_t i = 0; i < cmd->n_options; i++) {
        const struct arg_option *o = &cmd->options[i];
        const char *line = o->help;
        char letter = args_letter(o->name);
        int col =
            letter ? fprintf(out, "  -%c, --%s", letter, o->name) : fprintf(out, "  --%s", o->name);

        if (o->value)
            col += fprintf(out, " %s", o->value);

        if (col >= HELP_COLUMN) {
            (void)fputc('\n', out);
            col = 0;
        }
        while (line) {
            const char *end = strchrnul(line, '\n');

            (void)fprintf(out, "%*s%.*s\n", HELP_COLUMN - col, "", (int)(end - line), line);
            col = 0;
            line = *end ? end + 1 : NULL;
        }
    }
}

void args_help(const struct arg_command *cmd, const struct arg_command *common, FILE *out)
{
    (void)fprintf(out, "Usage: spectralctl %s [OPTION]...%s%s\n%s\n", cmd->name,
                  *cmd->operands ? " " : "", cmd->operands, cmd->summary);
    if (cmd->n_options > 0) {
        (void)fputs("\nOptions:\n", out);
        args_help_options(cmd, out);
    }
    (void)fputs("\nOptions of every command:\n", out);
    args_help_options(common, out);
    if (*cmd->notes)
        (void)fprintf(out, "\n%s", cmd->notes);
}
