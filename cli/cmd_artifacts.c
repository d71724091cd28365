/* cmd_artifacts.c: spectralctl artifacts, artifact */
#include "cli/commands.h"
#include "cli/download.h"
#include "cli/field.h"
#include "cli/pages.h"
#include "cli/prune_report.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/upload.h"

#include <stdlib.h>
#include <string.h>

/* --- artifacts ----------------------------------------------------------------------------- */

struct list_settings {
    struct output_form form;
};

static const struct arg_option list_options[] = {
    {"json", ARG_FLAG, offsetof(struct list_settings, form.json), NULL, "print JSON"},
    {"csv", ARG_FLAG, offsetof(struct list_settings, form.csv), NULL, "print CSV"},
    {"quiet", ARG_FLAG, offsetof(struct list_settings, form.quiet), NULL, "print only ids"},
};
static const struct arg_command list_args = {
    .name = "artifacts",
    .operands = "",
    .summary = "List artifacts: checkpoints that jobs wrote.",
    .notes = "Example:\n  spectralctl artifacts --csv\n",
    .options = list_options,
    .n_options = ARRAY_LEN(list_options),
};

static void print_artifacts(const struct context *cx, const json_t *artifacts, bool csv)
{
    static const struct table_column columns[] = {
        {"artifact", false, false, 0}, {"name", false, true, 0},     {"files", true, false, 3},
        {"size", true, false, 1},      {"created", false, false, 4}, {"expires", false, false, 2},
    };
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *a;
    size_t i;

    json_array_foreach(artifacts, i, a)
    {
        const char *expires = field_text(a, "expires_at");
        char size[UPLOAD_SIZE_MAX];

        upload_size((double)field_count(a, "bytes"), size);
        if (csv)
            (void)snprintf(size, sizeof(size), "%lld", field_count(a, "bytes"));
        table_cell(t, COLOUR_NONE, "%s", field_text(a, "id"));
        table_cell(t, COLOUR_NONE, "%s", field_text(a, "name"));
        table_cell(t, COLOUR_NONE, "%lld", field_count(a, "n_files"));
        table_cell(t, COLOUR_NONE, "%s", size);
        table_cell(t, COLOUR_DIM, "%.*s", csv ? 40 : 19, field_text(a, "created_at"));
        table_cell(t, COLOUR_DIM, "%.*s", csv ? 40 : 19, *expires || csv ? expires : "never");
    }
    if (csv)
        table_print_csv(t, stdout);
    else if (json_array_size(artifacts))
        table_print(t, &cx->out);
    else
        printf("no artifacts\n");
}

static int run_list(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct list_settings *s = settings;
    json_auto_t *artifacts = NULL;
    int status = EXIT_DONE;

    (void)operands;
    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    artifacts = pages_fetch(cx, "/v1/artifacts", "artifacts", SIZE_MAX, NULL, &status);
    if (!artifacts)
        return status;
    if (s->form.json)
        command_print_json(artifacts);
    else if (s->form.quiet)
        pages_print_ids(artifacts);
    else
        print_artifacts(cx, artifacts, s->form.csv);
    return EXIT_DONE;
}

const struct command command_artifacts = {&list_args, sizeof(struct list_settings), run_list};

/* --- artifact ------------------------------------------------------------------------------ */

struct one_settings {
    const char *out;
    bool json, quiet;
};

static const struct arg_option one_options[] = {
    {"out", ARG_TEXT, offsetof(struct one_settings, out), "DIR",
     "get: where to (default: a directory named by the id)"},
    {"json", ARG_FLAG, offsetof(struct one_settings, json), NULL,
     "print the server's description of it"},
    {"quiet", ARG_FLAG, offsetof(struct one_settings, quiet), NULL, "get: show no progress"},
};
static const struct arg_command one_args = {
    .name = "artifact",
    .operands = "[get|rm] ARTIFACT",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "Show, download (get) or delete (rm) an artifact.",
    .notes =
        "get fetches all files and checks their digests. Given again after it was broken off,\n"
        "it goes on where it was; files that are there already stay as they are.\n"
        "rm leaves files under an output root of the server alone.\n\n"
        "Examples:\n"
        "  spectralctl artifact art_01K...\n"
        "  spectralctl artifact get art_01K... --out ./llama-7b-wanda\n",
    .options = one_options,
    .n_options = ARRAY_LEN(one_options),
};

static void print_member(const char *label, const char *raw)
{
    AUTO(freep) char *text = text_clean(raw);

    printf("%-8s %s\n", label, text);
}

static void print_head(const json_t *artifact)
{
    const char *path = field_text(artifact, "path"), *expires = field_text(artifact, "expires_at");
    char size[UPLOAD_SIZE_MAX];

    upload_size((double)field_count(artifact, "bytes"), size);
    print_member("artifact", field_text(artifact, "id"));
    print_member("job", field_text(artifact, "job"));
    print_member("name", field_text(artifact, "name"));
    print_member("path", *path ? path : "kept by the server");
    print_member("size", size);
    print_member("created", field_text(artifact, "created_at"));
    print_member("expires", *expires ? expires : "never");
    printf("\n");
}

static void print_files(const struct context *cx, const json_t *files)
{
    static const struct table_column columns[] = {
        {"file", false, true, 0}, {"bytes", true, false, 0}, {"blake2b", false, false, 1}};
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *f;
    size_t i;

    json_array_foreach(files, i, f)
    {
        table_cell(t, COLOUR_NONE, "%s", field_text(f, "name"));
        table_cell(t, COLOUR_NONE, "%lld", field_count(f, "bytes"));
        table_cell(t, COLOUR_DIM, "%s", field_text(f, "blake2b"));
    }
    table_print(t, &cx->out);
}

static void show(const struct context *cx, const json_t *artifact)
{
    print_head(artifact);
    print_files(cx, json_object_get(artifact, "files"));
    if (!json_object_get(artifact, "blocks"))
        return;
    printf("\n");
    prune_report_print(cx, artifact);
    command_print_warnings(cx, artifact);
}

static int get(struct context *cx, const struct one_settings *s, const json_t *artifact)
{
    AUTO(freep) char *clean = NULL;
    const char *dir = s->out ? s->out : field_text(artifact, "id");
    int status;

    if (!command_id_is(field_text(artifact, "id"), "art_") ||
        strchr(field_text(artifact, "id"), '/')) {
        (void)command_misused("the server answers, but not with an artifact");
        return EXIT_SERVER;
    }
    status = download_artifact(cx, artifact, dir, s->quiet);
    clean = text_clean(dir);
    if (status == EXIT_DONE && s->json)
        command_print_json(artifact);
    else if (status == EXIT_DONE && !s->quiet)
        fprintf(stderr, "wrote %s\n", clean);
    return status;
}

static int run_one(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct one_settings *s = settings;
    const char *verb = operands->count == 2 ? operands->value[0] : "show";
    AUTO(freep) char *id = http_escape(operands->value[operands->count - 1]);
    AUTO(freep) char *path = xasprintf("/v1/artifacts/%s", id);
    bool look = operands->count == 1, fetch = strcmp(verb, "get") == 0;
    json_auto_t *artifact = NULL;
    int status = EXIT_DONE;

    if (!look && !fetch && strcmp(verb, "rm") != 0)
        return command_misused("artifact: expected get or rm before the id, not \"%s\"", verb);
    if (s->out && !fetch)
        return command_misused("--out is for artifact get");
    if (!look && !fetch) {
        (void)command_call(cx, "DELETE", path, NULL, &status);
        return status;
    }
    if (!command_call(cx, "GET", path, &artifact, &status))
        return status;
    if (fetch)
        return get(cx, s, artifact);
    if (s->json)
        command_print_json(artifact);
    else
        show(cx, artifact);
    return EXIT_DONE;
}

const struct command command_artifact = {&one_args, sizeof(struct one_settings), run_one};
