/* cmd_prune.c: spectralctl prune MODEL: a pruned copy of a checkpoint */
#include "cli/body.h"
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/plan_options.h"
#include "cli/prune_report.h"
#include "cli/submit.h"
#include "cli/text.h"

#include <string.h>

struct prune_settings {
    bool detach, exact, no_negative_rates;
    struct output_form form;
    const char *method, *sparsity, *plan, *stats, *out, *format, *selection;
    struct arg_count keep, of, keep_experts, keep_neurons, multiple_of, block_size;
    const char *damping, *ria_power, *rank_by, *trim_metric, *trim_row_metric;
    struct plan_options plan_options;
    struct arg_list blocks, labels;
    struct submit_settings submit;
};

#define AT(field) offsetof(struct prune_settings, field)
static const struct arg_option options[] = {
    {"method", ARG_TEXT, AT(method),
     "magnitude|wanda|wanda_variant|ria|sparsegpt|trim|external|expert_drop|width|dsnot|admm|alps",
     "what decides which weights go (required)"},
    {"sparsity", ARG_TEXT, AT(sparsity), "SHARE",
     "the part of the weights that goes, such as 0.5: of\nevery matrix, or of all that the plan "
     "names; or of\nexperts, or of neurons"},
    {"plan", ARG_TEXT, AT(plan), "PLAN", "the id of a plan, instead"},
    {"keep", ARG_COUNT, AT(keep), "K", "instead: K of every M neighbours in a row stay"},
    {"of", ARG_COUNT, AT(of), "M", "see --keep"},
    {"keep-experts", ARG_COUNT, AT(keep_experts), "N",
     "expert_drop, instead: N experts of every layer stay"},
    {"keep-neurons", ARG_COUNT, AT(keep_neurons), "N",
     "width, instead: N neurons of every feed-forward part stay"},
    {"multiple-of", ARG_COUNT, AT(multiple_of), "N",
     "width: a width by --sparsity is a multiple of N (64, or\nwhat divides the width as it is)"},
    {"stats", ARG_TEXT, AT(stats), "FILE",
     "calibration statistics; every method but magnitude and\nwidth needs them, and so do plans by "
     "owl and dlp"},
    {"out", ARG_TEXT, AT(out), "DIR",
     "where the copy goes: a new directory under the server's\noutput root (without: kept for "
     "artifact get)"},
    {"format", ARG_TEXT, AT(format), "dense|masks|tensors|sparse-bitmask",
     "what is written: the model with zeros (dense), masks or\nthe pruned tensors alone, or a "
     "legacy format"},
    {"blocks", ARG_LIST, AT(blocks), "NAME",
     "only this block of the model, such as model.layers.3;\nmay be repeated"},
    {"selection", ARG_TEXT, AT(selection), "row|tensor",
     "among which weights the least are taken (magnitude, ria,\nadmm, alps: tensor; wanda, "
     "external: row)"},
    {"exact", ARG_FLAG, AT(exact), NULL, "exact counts where rows are rounded down"},
    {"plan-method", ARG_TEXT, AT(plan_options.method), PLAN_METHODS,
     "how the target is shared out (uniform)"},
    PLAN_OPTIONS(AT(plan_options)),
    {"damping", ARG_TEXT, AT(damping), "X",
     "sparsegpt, alps: share of the mean diagonal added (0.01)"},
    {"block-size", ARG_COUNT, AT(block_size), "N",
     "sparsegpt: columns to choose among at a time (128)"},
    {"ria-power", ARG_TEXT, AT(ria_power), "X", "ria: power of the inputs' norms (0.5)"},
    {"rank-by", ARG_TEXT, AT(rank_by), "wanda|magnitude|wifv",
     "trim, dsnot: in which order weights go (wanda); width: by\nwhat neurons go (wanda; without "
     "--stats: magnitude)"},
    {"trim-metric", ARG_TEXT, AT(trim_metric), "cosim_flat|cosim_dim|mse|snr|psnr_flat|psnr_dim",
     "trim: how like its old output a matrix's is (cosim_flat)"},
    {"trim-row-metric", ARG_TEXT, AT(trim_row_metric), "cosim|mse|psnr",
     "trim: the same of a row (cosim)"},
    {"no-negative-rates", ARG_FLAG, AT(no_negative_rates), NULL,
     "trim: positive learning rates only"},
    {"label", ARG_LIST, AT(labels), "KEY=VALUE", "a label of the job; may be repeated"},
    {"detach", ARG_FLAG, AT(detach), NULL, "print the job's id and leave"},
    {"json", ARG_FLAG, AT(form.json), NULL, "print the report as JSON"},
    {"csv", ARG_FLAG, AT(form.csv), NULL, "print CSV, every matrix"},
    {"quiet", ARG_FLAG, AT(form.quiet), NULL,
     "print only the artifact's id (the job's with\n--detach), and no progress"},
    SUBMIT_OPTIONS(AT(submit)),
};
#undef AT

static const struct arg_command args = {
    .name = "prune",
    .operands = "PATH",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Write a pruned copy of a model.",
    .notes =
        "PATH and FILE are taken as by analyze: where the server can see them, else\n"
        "uploaded. The copy has the same files, names, shapes and dtypes; weights that went\n"
        "are zeros in it. By expert_drop and width it is a smaller model, and its config.json\n"
        "says so.\n\n"
        "Examples:\n"
        "  spectralctl prune ./llama-7b --method magnitude --sparsity 0.5\n"
        "  spectralctl prune ./llama-7b --method sparsegpt --stats llama.stats.safetensors \\\n"
        "      --sparsity 0.5 --out llama-7b-sparse\n"
        "  spectralctl prune ./llama-7b --method wanda --stats llama.stats.safetensors \\\n"
        "      --sparsity 0.6 --plan-method alphapruning --epsilon 0.1\n"
        "  spectralctl prune ./llama-7b --method magnitude --keep 2 --of 4\n"
        "  spectralctl prune ./qwen3-30b-a3b --method expert_drop --keep-experts 96 \\\n"
        "      --stats qwen3.stats.safetensors --out qwen3-30b-a3b-96\n",
    .options = options,
    .n_options = ARRAY_LEN(options),
};

/* --- the job -------------------------------------------------------------------------------- */

/* What the options say together; EXIT_DONE or a message. */
static int check(const struct prune_settings *s)
{
    bool groups = s->keep.given || s->of.given;
    bool parts = s->keep_experts.given || s->keep_neurons.given;

    if (!s->method)
        return command_misused("--method is required: what decides which weights go");
    if (s->keep.given != s->of.given)
        return command_misused("--keep and --of belong together");
    if (groups && (s->of.value < 1 || s->keep.value > s->of.value))
        return command_misused("--keep K --of M: K is at most M");
    if ((s->sparsity != NULL) + (s->plan != NULL) + groups + parts != 1)
        return command_misused("one of --sparsity, --plan, --keep with --of, --keep-experts and "
                               "--keep-neurons is required: how much goes");
    if (s->keep_experts.given && strcmp(s->method, "expert_drop") != 0)
        return command_misused("--keep-experts is for --method expert_drop");
    if (s->keep_neurons.given && strcmp(s->method, "width") != 0)
        return command_misused("--keep-neurons is for --method width");
    if (s->plan && (s->plan_options.method || plan_options_given(&s->plan_options)))
        return command_misused("--plan has its own options already");
    if (groups && s->plan_options.method)
        return command_misused("--plan-method has no say where --keep and --of have");
    if (!s->plan_options.method &&
        (s->plan_options.metric || s->plan_options.epsilon || s->plan_options.mapping ||
         s->plan_options.spread || s->plan_options.outlier_factor))
        return command_misused("--metric, --epsilon, --mapping, --spread and --outlier-factor are "
                               "for a --plan-method, such as alphapruning or owl");
    if (plan_options_measure(&s->plan_options) && !s->stats)
        return command_misused("--plan-method %s needs --stats FILE", s->plan_options.method);
    if (!output_form_valid(&s->form) || !submit_valid(&s->submit))
        return EXIT_USAGE;
    return EXIT_DONE;
}

static bool put_sparsity(json_t *to, const struct prune_settings *s)
{
    if (s->sparsity)
        return body_number(to, "sparsity", "sparsity", s->sparsity);
    (void)json_object_set_new(
        to, "sparsity", json_real((double)(s->of.value - s->keep.value) / (double)s->of.value));
    return true;
}

/* A plan made before; one that the job makes; or the same for every matrix. */
static bool put_plan(json_t *params, const struct prune_settings *s)
{
    struct plan_options o = s->plan_options;
    json_t *plan;

    if (s->keep_experts.given || s->keep_neurons.given)
        return true;
    if (s->plan) {
        body_text(params, "plan", s->plan);
        return true;
    }
    if (!o.method && !plan_options_given(&o))
        return put_sparsity(params, s);
    if (!o.method)
        o.method = "uniform";
    plan = json_object();
    (void)json_object_set_new(params, "plan", plan);
    return plan_options_put(plan, &o) && put_sparsity(plan, s);
}

static bool put_method(json_t *params, const struct prune_settings *s)
{
    json_t *trim = json_object();

    body_text(params, "method", s->method);
    body_text(params, "selection", s->selection);
    body_text(params, "rounding", s->exact ? "exact" : NULL);
    body_text(params, "rank_by", s->rank_by);
    body_count(params, "block_size", &s->block_size);
    body_count(params, "multiple_of", &s->multiple_of);
    body_count(params, "keep", &s->keep_experts);
    body_count(params, "keep", &s->keep_neurons);
    body_text(trim, "metric", s->trim_metric);
    body_text(trim, "row_metric", s->trim_row_metric);
    if (s->no_negative_rates)
        (void)json_object_set_new(trim, "negative_rates", json_false());
    if (json_object_size(trim))
        (void)json_object_set(params, "trim", trim);
    json_decref(trim);
    if (s->keep.given)
        (void)json_object_set_new(params, "n_of_m",
                                  json_pack("{s:I,s:I}", "keep", (json_int_t)s->keep.value, "of",
                                            (json_int_t)s->of.value));
    return body_number(params, "damping", "damping", s->damping) &&
           body_number(params, "ria-power", "ria_power", s->ria_power);
}

/* The job but for its files, or NULL after a message. */
static json_t *body_of(const struct prune_settings *s)
{
    json_t *params = json_object();
    json_t *body = json_pack("{s:s,s:o}", "kind", "prune", "params", params);
    json_t *output = json_object();

    body_text(output, "path", s->out);
    body_text(output, "format", s->format);
    if (json_object_size(output))
        (void)json_object_set(params, "output", output);
    json_decref(output);
    body_list(params, "blocks", &s->blocks);
    if (put_method(params, s) && put_plan(params, s) && body_labels(body, &s->labels))
        return body;
    json_decref(body);
    return NULL;
}

/* The plan that measures the statistics, too, or NULL. */
static json_t *plan_of(const json_t *body, const struct prune_settings *s)
{
    json_t *params = json_object_get(body, "params");

    return plan_options_measure(&s->plan_options) ? json_object_get(params, "plan") : NULL;
}

/* --- what came of it ------------------------------------------------------------------------ */

static void print_place(const json_t *report)
{
    AUTO(freep) char *id = text_clean(field_text(report, "id"));
    AUTO(freep) char *path = text_clean(field_text(report, "path"));

    if (*path)
        printf("%s: in %s\n", id, path);
    else
        printf("%s: kept by the server (spectralctl artifact get %s)\n", id, id);
}

static int report_artifact(struct context *cx, const json_t *job, const struct output_form *form)
{
    AUTO(freep)
    char *id = http_escape(field_text(json_object_get(job, "result"), "artifact"));
    AUTO(freep) char *target = xasprintf("/v1/artifacts/%s", id);
    json_auto_t *report = NULL;
    int status = EXIT_DONE;

    if (form->quiet) {
        printf("%s\n", id);
        return EXIT_DONE;
    }
    if (!command_call(cx, "GET", target, &report, &status))
        return status;
    if (form->json) {
        command_print_json(report);
    } else if (form->csv) {
        prune_report_print_csv(report);
    } else {
        prune_report_print(cx, report);
        print_place(report);
    }
    if (!form->json)
        command_print_warnings(cx, report);
    return EXIT_DONE;
}

static int run(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct prune_settings *s = settings;
    struct submit_settings how = s->submit;
    json_auto_t *job = NULL, *body = NULL;
    int status = check(s);

    if (status != EXIT_DONE)
        return status;
    body = body_of(s);
    if (!body)
        return EXIT_USAGE;
    how.quiet = s->form.quiet;
    how.keep_upload |= s->detach;
    struct submit_file file[] = {SUBMIT_SOURCE(operands->value[0], body),
                                 {.path = s->stats,
                                  .in = json_object_get(body, "params"),
                                  .also = plan_of(body, s),
                                  .key = "stats",
                                  .pointer = "#/params/stats"}};
    size_t n_files = s->stats ? 2 : 1;
    status = submit_files(cx, &how, body, file, n_files, &job);
    if (status == EXIT_DONE && !s->detach)
        status = follow_job(cx, &job, s->form.quiet);
    submit_end(cx, &how, file, n_files, job);
    if (status != EXIT_DONE)
        return status;
    if (!s->detach)
        return report_artifact(cx, job, &s->form);
    if (s->form.json)
        command_print_json(job);
    else
        printf("%s\n", field_text(job, "id"));
    return EXIT_DONE;
}

const struct command command_prune = {&args, sizeof(struct prune_settings), run};
