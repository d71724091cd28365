/* cmd_analyze.c: spectralctl analyze PATH */
#include "cli/body.h"
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/submit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct analyze_settings {
    bool wait, detach, compat, integers, farms;
    struct output_form form;
    struct submit_settings submit;
    const char *precision, *include, *exclude, *columns, *base, *adapter, *products;
    struct arg_list labels, layers, types, measure, fit;
    struct arg_count min_evals, max_evals, max_n, farms_rows, farms_windows;
    const char *farms_q, *farms_fit, *farms_mode;
};

#define AT(field) offsetof(struct analyze_settings, field)
static const struct arg_option options[] = {
    {"wait", ARG_FLAG, AT(wait), NULL, "wait for the result and print it (the default)"},
    {"detach", ARG_FLAG, AT(detach), NULL, "print the job's id and leave"},
    {"json", ARG_FLAG, AT(form.json), NULL, "print job, analysis and layers as one JSON object"},
    {"csv", ARG_FLAG, AT(form.csv), NULL, "print the layers as CSV"},
    {"quiet", ARG_FLAG, AT(form.quiet), NULL,
     "print only the analysis's id (the job's with\n--detach), and no progress"},
    {"columns", ARG_TEXT, AT(columns), "A,B,...", "columns to print, of those the server has"},
    SUBMIT_OPTIONS(AT(submit)),
    {"base", ARG_TEXT, AT(base), "PATH",
     "subtract this model's weights: spectra of what changed\nsince"},
    {"adapter", ARG_TEXT, AT(adapter), "delta|merged|factors",
     "of a LoRA adapter: what it adds to the weights (delta),\nthe weights of --base with that "
     "added, "
     "or its two\nmatrices each"},
    {"products", ARG_TEXT, AT(products), "plain|sparse",
     "also products of neighbouring matrices; sparse: with\nzeros and ones between them"},
    {"precision", ARG_TEXT, AT(precision), "double|single", "arithmetic (double)"},
    {"compat", ARG_FLAG, AT(compat), NULL,
     "WeightWatcher 0.7.5.5's values where the default differs"},
    {"label", ARG_LIST, AT(labels), "KEY=VALUE", "a label of the job; may be repeated"},
    {"layers", ARG_LIST, AT(layers), "ID|NAME", "only this layer; may be repeated"},
    {"types", ARG_LIST, AT(types), "TYPE",
     "only dense, embedding, conv1d or conv2d; may be repeated"},
    {"include", ARG_TEXT, AT(include), "REGEX", "only layers whose name matches"},
    {"exclude", ARG_TEXT, AT(exclude), "REGEX", "no layers whose name matches"},
    {"min-evals", ARG_COUNT, AT(min_evals), "N",
     "skip layers with fewer eigenvalues; 0 = none (10)"},
    {"max-evals", ARG_COUNT, AT(max_evals), "N",
     "skip layers with more; 0 = no limit (0; with --compat 15000)"},
    {"max-N", ARG_COUNT, AT(max_n), "N",
     "skip layers with a longer side; 0 = no limit (0; with\n--compat 50000)"},
    {"integers", ARG_FLAG, AT(integers), NULL, "take integer tensors as numbers"},
    {"farms", ARG_FLAG, AT(farms), NULL,
     "also the exponent of equally shaped windows of each\nmatrix; the options below ask for it, "
     "too"},
    {"farms-rows", ARG_COUNT, AT(farms_rows), "N", "rows of a window (2000)"},
    {"farms-q", ARG_TEXT, AT(farms_q), "Q", "columns of a window over its rows (1)"},
    {"farms-windows", ARG_COUNT, AT(farms_windows), "N", "windows along each side (15)"},
    {"farms-fit", ARG_TEXT, AT(farms_fit), "xmin_mid|xmin_peak|ks|top",
     "where the tail starts (xmin_mid)"},
    {"farms-mode", ARG_TEXT, AT(farms_mode), "exact|fast",
     "fast solves a sample of the windows and states the error\n(exact)"},
    {"fit", ARG_LIST, AT(fit), "NAME=VALUE",
     "how the tail is fitted: law=pl|tpl|e_tpl|hill,\nfix_fingers=clip_xmax|xmin_peak, "
     "max_fingers, "
     "finger_thresh,\nxmin, xmax, drop_top, pos; may be repeated"},
    {"measure", ARG_LIST, AT(measure), "NAME",
     "what else is measured: mp_fit, randomize, erg, snr,\nvectors, alternatives, bootstrap, "
     "traps; where there is\na choice NAME=VALUE: mp_fit=upstream, randomize=5;\nphase=off leaves "
     "the phases out; may be repeated"},
};

static const struct arg_command args = {
    .name = "analyze",
    .operands = "PATH",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Analyse a safetensors file or a Hugging Face model directory.",
    .notes =
        "A PATH that exists here is made absolute and must lie under one of the server's model\n"
        "roots; any other is taken relative to a model root. What the server cannot see, and any\n"
        "PATH that exists here when the server is another machine, is uploaded: a file as it is,\n"
        "a directory as a tar stream of its *.safetensors and *.json. The upload is deleted once\n"
        "the job is over, unless --keep-upload or --detach are given; then it expires.\n\n"
        "Examples:\n"
        "  spectralctl analyze model.safetensors --label run=a --label step=300\n"
        "  spectralctl analyze ./llama-7b --csv --columns longname,alpha,D > layers.csv\n"
        "  spectralctl analyze ./llama-7b --farms-mode fast\n"
        "  spectralctl analyze ./llama-7b-tuned --base ./llama-7b\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

/* The windows asked for, or NULL. */
static json_t *farms_of(const struct analyze_settings *s)
{
    json_t *f;

    if (!s->farms && !s->farms_rows.given && !s->farms_windows.given && !s->farms_q &&
        !s->farms_fit && !s->farms_mode)
        return NULL;
    f = json_object();
    body_count(f, "rows", &s->farms_rows);
    body_count(f, "windows", &s->farms_windows);
    if (s->farms_q)
        json_object_set_new(f, "q", json_real(strtod(s->farms_q, NULL)));
    body_text(f, "fit", s->farms_fit);
    body_text(f, "mode", s->farms_mode);
    return f;
}

static bool is_number(const char *text)
{
    char *end;
    double x = strtod(text, &end);

    return end > text && !*end && isfinite(x);
}

/* NAME, or NAME=VALUE. */
static void add_measure(json_t *p, const char *text)
{
    size_t len = strcspn(text, "=");

    const char *value = text[len] ? text + len + 1 : "";
    bool whole = *value && strlen(value) < 10 && value[strspn(value, "0123456789")] == '\0';

    json_object_setn_new(p, text, len,
                         whole                       ? json_integer(atoll(value))
                         : is_number(value)          ? json_real(strtod(value, NULL))
                         : strcmp(value, "off") == 0 ? json_false()
                         : text[len]                 ? json_string(value)
                                                     : json_true());
}

static json_t *params_of(const struct analyze_settings *s)
{
    json_t *p = json_object(), *farms = farms_of(s);

    body_text(p, "precision", s->precision);
    body_text(p, "adapter", s->adapter);
    body_text(p, "products", s->products);
    if (s->compat)
        json_object_set_new(p, "compat", json_string("weightwatcher-0.7.5.5"));
    if (s->integers)
        json_object_set_new(p, "integers", json_true());
    body_text(p, "include", s->include);
    body_text(p, "exclude", s->exclude);
    body_count(p, "min_evals", &s->min_evals);
    body_count(p, "max_evals", &s->max_evals);
    body_count(p, "max_N", &s->max_n);
    if (farms)
        json_object_set_new(p, "farms", farms);
    body_list(p, "types", &s->types);
    for (size_t i = 0; i < s->measure.count; i++)
        add_measure(p, s->measure.value[i]);
    if (s->fit.count) {
        json_t *fit = json_object();

        for (size_t i = 0; i < s->fit.count; i++)
            add_measure(fit, s->fit.value[i]);
        json_object_set_new(p, "fit", fit);
    }
    body_layers(p, "layers", &s->layers);
    return p;
}

/* The job but for its source, or NULL after a message. */
static json_t *body_of(const struct analyze_settings *s)
{
    json_t *body = json_pack("{s:s,s:o}", "kind", "analyze", "params", params_of(s));

    if (!body)
        (void)command_misused("arguments must be UTF-8");
    else if (body_labels(body, &s->labels))
        return body;
    json_decref(body);
    return NULL;
}

static int print_detached(const struct analyze_settings *s, const json_t *job)
{
    if (s->form.json)
        command_print_json(job);
    else
        printf("%s\n", field_text(job, "id"));
    return EXIT_DONE;
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct analyze_settings *s = settings;
    struct submit_settings how = s->submit;
    json_auto_t *job = NULL, *body = NULL;
    int status;

    how.quiet = s->form.quiet;
    how.keep_upload |= s->detach;
    if (s->wait && s->detach)
        return command_misused("--wait and --detach exclude each other");
    if (!submit_valid(&how))
        return EXIT_USAGE;
    if (s->farms_q && !is_number(s->farms_q))
        return command_misused("--farms-q: expected a number, not \"%s\"", s->farms_q);
    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    body = body_of(s);
    if (!body)
        return EXIT_USAGE;
    struct submit_file file[] = {SUBMIT_SOURCE(operands->value[0], body),
                                 {.path = s->base,
                                  .in = json_object_get(body, "params"),
                                  .key = "base",
                                  .pointer = "#/params/base"}};
    size_t n_files = s->base ? 2 : 1;
    status = submit_files(cx, &how, body, file, n_files, &job);
    if (status == EXIT_DONE && !s->detach)
        status = follow_job(cx, &job, s->form.quiet);
    submit_end(cx, &how, file, n_files, job);
    if (status == EXIT_DONE && s->detach)
        return print_detached(s, job);
    if (status == EXIT_DONE) {
        const json_t *result = json_object_get(job, "result");

        status = report_analysis(cx, field_text(result, "analysis"), job, &s->form, s->columns);
    }
    return status;
}

const struct command command_analyze = {&args, sizeof(struct analyze_settings), run};
