/* cmd_export.c: spectralctl export */
#include "cli/commands.h"
#include "cli/outfile.h"
#include "cli/pages.h"

#include <string.h>

struct export_settings {
    const char *format, *columns, *output;
    bool json, csv, quiet;
};

#define AT(field) offsetof(struct export_settings, field)
static const struct arg_option options[] = {
    {"format", ARG_TEXT, AT(format), "csv|json", "what to write (csv)"},
    {"csv", ARG_FLAG, AT(csv), NULL, "the same as --format csv"},
    {"json", ARG_FLAG, AT(json), NULL, "the same as --format json"},
    {"columns", ARG_TEXT, AT(columns), "A,B,...", "only these, in this order"},
    {"output", ARG_TEXT, AT(output), "FILE", "write there instead of to the standard output"},
    {"quiet", ARG_FLAG, AT(quiet), NULL, "do not say what was written"},
};
static const struct arg_command args = {
    .name = "export",
    .operands = "ANALYSIS",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Write all layers of an analysis as CSV or JSON.",
    .notes =
        "A file appears under its name only when it is complete. JSON is one array of rows.\n\n"
        "Examples:\n"
        "  spectralctl export ana_01K... -o layers.csv\n"
        "  spectralctl export ana_01K... --json --columns longname,alpha | jq .\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

/* All rows to `out`. Returns an exit status. */
static int write_rows(struct context *cx, const char *path, bool json, FILE *out)
{
    json_auto_t *rows = NULL;
    int status = EXIT_DONE;

    if (!json)
        return pages_csv(cx, path, out);
    rows = pages_fetch(cx, path, "layers", SIZE_MAX, NULL, &status);
    if (!rows)
        return status;
    (void)json_dumpf(rows, out, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    (void)fputc('\n', out);
    return EXIT_DONE;
}

static int write_file(struct context *cx, const char *path, bool json, const char *name, bool quiet)
{
    AUTO(outfile_discard) struct outfile file = {0};
    struct err err = {0};
    int status;

    if (outfile_open(name, &file, &err) < 0)
        return command_failed_here(&err);
    status = write_rows(cx, path, json, file.out);
    if (status != EXIT_DONE)
        return status;
    if (outfile_commit(&file, &err) < 0)
        return command_failed_here(&err);
    if (!quiet)
        fprintf(stderr, "wrote %s\n", name);
    return EXIT_DONE;
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct export_settings *s = settings;
    AUTO(freep) char *id = http_escape(operands->value[0]);
    AUTO(freep) char *columns = http_escape(s->columns ? s->columns : "");
    AUTO(freep)
    char *path =
        xasprintf("/v1/analyses/%s/layers%s%s", id, s->columns ? "?columns=" : "", columns);
    bool json = s->json || (s->format && strcmp(s->format, "json") == 0);

    if ((int)s->json + (int)s->csv + (int)(s->format != NULL) > 1)
        return command_misused("--format, --csv and --json exclude each other");
    if (s->output)
        return write_file(cx, path, json, s->output, s->quiet);
    return write_rows(cx, path, json, stdout);
}

const struct command command_export = {&args, sizeof(struct export_settings), run};
