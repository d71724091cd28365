/* cmd_uploads.c: spectralctl upload, uploads, rm */
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/pages.h"
#include "cli/table.h"
#include "cli/upload.h"

#include <stdlib.h>
#include <string.h>

/* --- upload -------------------------------------------------------------------------------- */

struct upload_settings {
    struct output_form form;
};

static const struct arg_option upload_options[] = {
    {"json", ARG_FLAG, offsetof(struct upload_settings, form.json), NULL,
     "print the server's description of it"},
    {"quiet", ARG_FLAG, offsetof(struct upload_settings, form.quiet), NULL, "show no progress"},
};
static const struct arg_command upload_args = {
    .name = "upload",
    .operands = "PATH",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Send a file or a model directory to the server.",
    .notes = "Prints the id. Of a directory its *.safetensors and *.json are sent. The server may\n"
             "limit sizes; it deletes uploads some time after their last use.\n\n"
             "Example:\n"
             "  spectralctl upload ./llama-7b\n",
    .options = upload_options,
    .n_options = ARRAY_LEN(upload_options),
};

static int run_upload(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct upload_settings *s = settings;
    json_auto_t *upload = NULL;
    int status;

    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    status = upload_path(cx, operands->value[0], s->form.quiet, &upload);
    if (status != EXIT_DONE)
        return status;
    if (s->form.json)
        command_print_json(upload);
    else
        printf("%s\n", field_text(upload, "id"));
    return EXIT_DONE;
}

const struct command command_upload = {&upload_args, sizeof(struct upload_settings), run_upload};

/* --- uploads ------------------------------------------------------------------------------- */

struct uploads_settings {
    struct output_form form;
};

static const struct arg_option uploads_options[] = {
    {"json", ARG_FLAG, offsetof(struct uploads_settings, form.json), NULL, "print JSON"},
    {"csv", ARG_FLAG, offsetof(struct uploads_settings, form.csv), NULL, "print CSV"},
    {"quiet", ARG_FLAG, offsetof(struct uploads_settings, form.quiet), NULL, "print only ids"},
};
static const struct arg_command uploads_args = {
    .name = "uploads",
    .operands = "",
    .summary = "List uploads.",
    .notes = "Example:\n  spectralctl uploads --csv\n",
    .options = uploads_options,
    .n_options = ARRAY_LEN(uploads_options),
};

static void print_uploads(const struct context *cx, const json_t *uploads, bool csv)
{
    static const struct table_column columns[] = {
        {"upload", false, false, 0}, {"name", false, true, 0},     {"kind", false, false, 3},
        {"size", true, false, 1},    {"created", false, false, 4}, {"expires", false, false, 2},
    };
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *u;
    size_t i;

    json_array_foreach(uploads, i, u)
    {
        char size[UPLOAD_SIZE_MAX];

        upload_size((double)field_count(u, "bytes"), size);
        if (csv)
            (void)snprintf(size, sizeof(size), "%lld", field_count(u, "bytes"));
        table_cell(t, COLOUR_NONE, "%s", field_text(u, "id"));
        table_cell(t, COLOUR_NONE, "%s", field_text(u, "name"));
        table_cell(t, COLOUR_NONE, "%s", field_text(u, "kind"));
        table_cell(t, COLOUR_NONE, "%s", size);
        table_cell(t, COLOUR_DIM, "%.*s", csv ? 40 : 19, field_text(u, "created_at"));
        table_cell(t, COLOUR_DIM, "%.*s", csv ? 40 : 19, field_text(u, "expires_at"));
    }
    if (csv)
        table_print_csv(t, stdout);
    else if (json_array_size(uploads))
        table_print(t, &cx->out);
    else
        printf("no uploads\n");
}

static int run_uploads(struct context *cx, const void *settings,
                       const struct arg_operands *operands)
{
    const struct uploads_settings *s = settings;
    json_auto_t *uploads = NULL;
    int status = EXIT_DONE;

    (void)operands;
    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    uploads = pages_fetch(cx, "/v1/uploads", "uploads", SIZE_MAX, NULL, &status);
    if (!uploads)
        return status;
    if (s->form.json)
        command_print_json(uploads);
    else if (s->form.quiet)
        pages_print_ids(uploads);
    else
        print_uploads(cx, uploads, s->form.csv);
    return EXIT_DONE;
}

const struct command command_uploads = {&uploads_args, sizeof(struct uploads_settings),
                                        run_uploads};

/* --- rm ------------------------------------------------------------------------------------ */

static const struct arg_command rm_args = {
    .name = "rm",
    .operands = "JOB|UPLOAD...",
    .min_operands = 1,
    .max_operands = ARG_OPERANDS_MAX,
    .summary = "Delete records of finished jobs (job_...), and uploads (upl_...).",
    .notes = "The analysis of a deleted job and the cache stay. An upload that an unfinished job\n"
             "uses is not deleted. All ids are tried; the exit status tells of the first failure.\n"
             "\nExample:\n"
             "  spectralctl jobs --quiet --state failed | xargs -r spectralctl rm\n",
};

static int run_rm(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    int first = EXIT_DONE;

    (void)settings;
    for (size_t i = 0; i < operands->count; i++) {
        const char *id = operands->value[i];
        AUTO(freep) char *escaped = http_escape(id);
        AUTO(freep)
        char *path =
            xasprintf("/v1/%s/%s", command_id_is(id, "upl_") ? "uploads" : "jobs", escaped);
        int status = EXIT_DONE;

        if (!command_call(cx, "DELETE", path, NULL, &status) && first == EXIT_DONE)
            first = status;
        if (status == EXIT_INTERRUPTED)
            return status;
    }
    return first;
}

const struct command command_rm = {&rm_args, 0, run_rm};
