/* cmd_decisions.c: spectralctl schedule, experts, plan: what follows from an analysis, and a plan
 * of a model that has none */
#include "cli/body.h"
#include "cli/commands.h"
#include "cli/field.h"
#include "cli/plan_compare.h"
#include "cli/plan_options.h"
#include "cli/submit.h"
#include "cli/table.h"
#include "common/json_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BAR_MAX  40  /* columns */
#define BITS_BAR 8.0 /* bits of a full bar */

/* The server may have to read weights first: then the answer is a job. Follow it to its plan. */
static bool await_plan(struct context *cx, json_t **out, int *status)
{
    AUTO(freep) char *id = NULL, *target = NULL;
    json_auto_t *job = NULL;

    if (!command_id_is(field_text(*out, "id"), "job_"))
        return true;
    job = TAKE(*out);
    *status = follow_job(cx, &job, false);
    if (*status != EXIT_DONE)
        return false;
    id = http_escape(field_text(json_object_get(job, "result"), "plan"));
    target = xasprintf("/v1/plans/%s", id);
    return command_call(cx, "GET", target, out, status);
}

/* POST the body; the caller owns *out. False, with an exit status, when there is none. */
static bool post(struct context *cx, const char *path, const json_t *body, json_t **out,
                 int *status)
{
    const struct http_request rq = {.method = "POST", .path = path, .body = body};
    AUTO(http_reply_done) struct http_reply reply = HTTP_REPLY_INIT;

    if (!command_request(cx, &rq, &reply, status))
        return false;
    *out = TAKE(reply.body);
    return strcmp(path, "/v1/plans") != 0 || await_plan(cx, out, status);
}

/* A number: short for people, every digit and nothing for null in CSV. */
static void add_number(struct table *t, bool csv, const json_t *value)
{
    AUTO(buf_done) struct buf text = BUF_INIT;

    if (csv && json_is_real(value))
        json_text_real(&text, json_real_value(value));
    buf_put_u8(&text, '\0');
    if (csv && !json_is_integer(value))
        table_cell(t, COLOUR_NONE, "%s", (const char *)text.data);
    else
        table_json(t, value);
}

/* A table as text, or as CSV. */
static void show_table(const struct context *cx, const struct table *t, bool csv)
{
    if (csv)
        table_print_csv(t, stdout);
    else
        table_print(t, &cx->out);
}

/* --- schedule ------------------------------------------------------------------------------ */

struct schedule_settings {
    struct output_form form;
    const char *method, *metric, *unit, *map, *lr, *weight_decay, *low, *high, *tau, *below, *above;
    const char *window, *scale;
    bool normalize, reference;
};

#define AT(field) offsetof(struct schedule_settings, field)
static const struct arg_option schedule_options[] = {
    {"method", ARG_TEXT, AT(method), "tempbalance|modelbalancing|llr|alphadecay",
     "what sets the defaults of the others (tempbalance)"},
    {"lr", ARG_TEXT, AT(lr), "RATE", "base learning rate"},
    {"weight-decay", ARG_TEXT, AT(weight_decay), "DECAY", "base weight decay"},
    {"metric", ARG_TEXT, AT(metric), "COLUMN", "a numeric column of layers (alpha_mid)"},
    {"unit", ARG_TEXT, AT(unit), "matrix|block|layer|sliding_window", "what gets a factor"},
    {"map", ARG_TEXT, AT(map), "linear|sqrt|log2|rank|sigmoid|zscore",
     "from the metric to a factor"},
    {"low", ARG_TEXT, AT(low), "FACTOR", "factor of the lowest metric (linear, rank)"},
    {"high", ARG_TEXT, AT(high), "FACTOR", "factor of the highest"},
    {"tau", ARG_TEXT, AT(tau), "N", "steepness (sigmoid: 10, zscore: 4)"},
    {"below", ARG_TEXT, AT(below), "DECADES", "sigmoid: range below the mean, times two"},
    {"above", ARG_TEXT, AT(above), "DECADES", "the same above the mean"},
    {"window", ARG_TEXT, AT(window), "INDEX", "the block of a sliding window, from 0"},
    {"scale", ARG_TEXT, AT(scale), "FACTOR", "its factor"},
    {"reference", ARG_FLAG, AT(reference), NULL, "equal scores as in the papers' code"},
    {"normalize", ARG_FLAG, AT(normalize), NULL, "make the mean factor 1"},
    {"json", ARG_FLAG, AT(form.json), NULL, "print the server's answer as JSON"},
    {"csv", ARG_FLAG, AT(form.csv), NULL, "print CSV"},
};
#undef AT
static const struct arg_command schedule_args = {
    .name = "schedule",
    .operands = "ANALYSIS",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Learning rates or weight decays per layer.",
    .notes = "Layers with a light-tailed spectrum (a large alpha) get more. The table has what\n"
             "differs from the base, and what was left out although it has a spectrum.\n\n"
             "Examples:\n"
             "  spectralctl schedule ana_01K... --lr 1e-3\n"
             "  spectralctl schedule ana_01K... --method alphadecay --weight-decay 0.1 --csv\n",
    .options = schedule_options,
    .n_options = ARRAY_LEN(schedule_options),
};

static bool put_window(json_t *body, const struct schedule_settings *s)
{
    json_t *window = json_object();
    bool fine = body_number(window, "window", "index", s->window) &&
                body_number(window, "scale", "scale", s->scale);

    if (json_object_size(window))
        (void)json_object_set(body, "window", window);
    json_decref(window);
    return fine;
}

/* The body of the call, or NULL after a message. */
static json_t *schedule_body(const struct schedule_settings *s, const char *analysis)
{
    json_t *body = json_pack("{s:s, s:{}}", "analysis", analysis, "assign");
    json_t *assign = json_object_get(body, "assign");

    body_text(body, "method", s->method);
    body_text(body, "metric", s->metric);
    body_text(body, "unit", s->unit);
    body_text(assign, "fn", s->map);
    if (s->normalize)
        (void)json_object_set_new(assign, "normalize", json_true());
    body_text(body, "compat", s->reference ? "reference" : NULL);
    if (put_window(body, s) && body_number(assign, "tau", "tau", s->tau) &&
        body_number(assign, "below", "sigmoid_min", s->below) &&
        body_number(assign, "above", "sigmoid_max", s->above) &&
        body_number(body, "lr", "base_lr", s->lr) &&
        body_number(body, "weight-decay", "base_weight_decay", s->weight_decay) &&
        body_number(assign, "low", "s1", s->low) && body_number(assign, "high", "s2", s->high))
        return body;
    json_decref(body);
    return NULL;
}

/* Norms and biases that stay as they are would only be in the way. */
static bool worth_a_line(const json_t *layer)
{
    return strcmp(field_text(layer, "excluded"), "not_a_matrix") != 0 ||
           *field_text(layer, "inherits");
}

static void print_schedule(const struct context *cx, const json_t *reply, bool csv)
{
    const char *metric = field_text(reply, "metric");
    const struct table_column columns[] = {
        {"tensor", false, true, 0}, {metric, true, false, 1},         {"factor", true, false, 0},
        {"lr", true, false, 0},     {"weight_decay", true, false, 0}, {"note", false, false, 2},
    };
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *layer;
    size_t i, shown = 0;

    json_array_foreach(json_object_get(reply, "layers"), i, layer)
    {
        const char *from = field_text(layer, "inherits"), *why = field_text(layer, "excluded");

        if (!csv && !worth_a_line(layer))
            continue;
        table_cell(t, COLOUR_NONE, "%s", field_text(layer, "tensor"));
        add_number(t, csv, json_object_get(layer, "score"));
        add_number(t, csv, json_object_get(layer, "multiplier"));
        add_number(t, csv, json_object_get(layer, "lr"));
        add_number(t, csv, json_object_get(layer, "weight_decay"));
        table_cell(t, COLOUR_DIM, "%s%s", *from ? "as " : "", *from ? from : why);
        shown++;
    }
    if (shown)
        show_table(cx, t, csv);
    else
        printf("no layer takes part\n");
}

static int run_schedule(struct context *cx, const void *settings,
                        const struct arg_operands *operands)
{
    const struct schedule_settings *s = settings;
    json_auto_t *body = NULL, *reply = NULL;
    int status = EXIT_DONE;

    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    body = schedule_body(s, operands->value[0]);
    if (!body)
        return EXIT_USAGE;
    if (!post(cx, "/v1/schedules", body, &reply, &status))
        return status;
    if (s->form.json)
        command_print_json(reply);
    else
        print_schedule(cx, reply, s->form.csv);
    if (!s->form.json)
        command_print_warnings(cx, reply);
    return EXIT_DONE;
}

const struct command command_schedule = {&schedule_args, sizeof(struct schedule_settings),
                                         run_schedule};

/* --- experts ------------------------------------------------------------------------------- */

struct experts_settings {
    struct output_form form;
    const char *metric, *rounding, *beta;
    struct arg_count total, minimum;
};

#define AT(field) offsetof(struct experts_settings, field)
static const struct arg_option experts_options[] = {
    {"total", ARG_COUNT, AT(total), "N", "experts of all blocks together (required)"},
    {"minimum", ARG_COUNT, AT(minimum), "N", "of every block (1)"},
    {"beta", ARG_TEXT, AT(beta), "POWER", "of the metric that shares go by (2.5)"},
    {"metric", ARG_TEXT, AT(metric), "COLUMN", "a numeric column of layers (alpha_mid)"},
    {"rounding", ARG_TEXT, AT(rounding), "largest_remainder|alphalora",
     "how shares become counts (largest_remainder)"},
    {"json", ARG_FLAG, AT(form.json), NULL, "print the server's answer as JSON"},
    {"csv", ARG_FLAG, AT(form.csv), NULL, "print CSV"},
};
#undef AT
static const struct arg_command experts_args = {
    .name = "experts",
    .operands = "ANALYSIS",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "Share LoRA experts out to the blocks of a model.",
    .notes = "After AlphaLoRA: blocks with a larger mean alpha get more.\n\n"
             "Example:\n"
             "  spectralctl experts ana_01K... --total 160\n",
    .options = experts_options,
    .n_options = ARRAY_LEN(experts_options),
};

static json_t *experts_body(const struct experts_settings *s, const char *analysis)
{
    json_t *body = json_pack("{s:s}", "analysis", analysis);

    body_text(body, "metric", s->metric);
    body_text(body, "rounding", s->rounding);
    body_count(body, "total", &s->total);
    body_count(body, "minimum", &s->minimum);
    if (body_number(body, "beta", "beta", s->beta))
        return body;
    json_decref(body);
    return NULL;
}

static void add_bar(struct table *t, const struct context *cx, double x, double most)
{
    AUTO(buf_done) struct buf bar = BUF_INIT;
    double length = most > 0 ? round(BAR_MAX * x / most) : 0;

    for (double i = 0; i < length; i++)
        buf_printf(&bar, "%s", cx->out.utf8 ? "\xE2\x96\x88" : "#");
    buf_put_u8(&bar, '\0');
    table_cell(t, COLOUR_GREEN, "%s", (const char *)bar.data);
}

static void print_experts(const struct context *cx, const json_t *reply, bool csv)
{
    const struct table_column columns[] = {
        {"block", false, true, 0},
        {field_text(reply, "metric"), true, false, 2},
        {"experts", true, false, 0},
        {"", false, false, 1},
    };
    /* No bars in CSV. */
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns) - csv);
    const json_t *block;
    double most = 0;
    size_t i;

    json_array_foreach(json_object_get(reply, "blocks"), i, block)
    {
        most = fmax(most, (double)field_count(block, "experts"));
    }
    json_array_foreach(json_object_get(reply, "blocks"), i, block)
    {
        table_cell(t, COLOUR_NONE, "%s", field_text(block, "block"));
        add_number(t, csv, json_object_get(block, "score"));
        table_json(t, json_object_get(block, "experts"));
        if (!csv)
            add_bar(t, cx, (double)field_count(block, "experts"), most);
    }
    show_table(cx, t, csv);
}

static int run_experts(struct context *cx, const void *settings,
                       const struct arg_operands *operands)
{
    const struct experts_settings *s = settings;
    json_auto_t *body = NULL, *reply = NULL;
    int status = EXIT_DONE;

    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    if (!s->total.given)
        return command_misused("--total N is required: how many experts there are in all");
    body = experts_body(s, operands->value[0]);
    if (!body)
        return EXIT_USAGE;
    if (!post(cx, "/v1/experts", body, &reply, &status))
        return status;
    if (s->form.json)
        command_print_json(reply);
    else
        print_experts(cx, reply, s->form.csv);
    if (!s->form.json)
        command_print_warnings(cx, reply);
    return EXIT_DONE;
}

const struct command command_experts = {&experts_args, sizeof(struct experts_settings),
                                        run_experts};

/* --- plan ---------------------------------------------------------------------------------- */

struct plan_settings {
    struct output_form form;
    const char *sparsity, *plans, *svg, *direction, *bits, *stats;
    struct arg_count width;
    bool compare;
    struct plan_options options;
    struct submit_settings submit;
};

#define AT(field) offsetof(struct plan_settings, field)
static const struct arg_option plan_options[] = {
    {"sparsity", ARG_TEXT, AT(sparsity), "SHARE", "the target, such as 0.7"},
    {"method", ARG_TEXT, AT(options.method), PLAN_METHODS,
     "how the target is shared out (alphapruning)"},
    PLAN_OPTIONS(AT(options)),
    {"stats", ARG_TEXT, AT(stats), "FILE", "owl, dlp: calibration statistics; with a PATH"},
    {"width", ARG_COUNT, AT(width), "N", "whole channels and heads, multiples of N"},
    {"direction", ARG_TEXT, AT(direction), "prune|low_rank", "what the ratios are for (prune)"},
    {"bits", ARG_TEXT, AT(bits), "AVERAGE", "bit widths by alphaq instead of sparsities"},
    {"compare", ARG_FLAG, AT(compare), NULL, "show several plans side by side"},
    {"plans", ARG_TEXT, AT(plans), "METHOD[:METRIC],...", "with --compare: others than the usual"},
    {"svg", ARG_TEXT, AT(svg), "FILE", "with --compare: write a picture, too"},
    SUBMIT_OPTIONS(AT(submit)),
    {"json", ARG_FLAG, AT(form.json), NULL, "print the server's answer as JSON"},
    {"csv", ARG_FLAG, AT(form.csv), NULL, "print CSV, every tensor"},
};
#undef AT
static const struct arg_command plan_args = {
    .name = "plan",
    .operands = "ANALYSIS|PATH",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "How sparse each block of a model becomes.",
    .notes =
        "A PATH is taken as by analyze, and analysed first where the metric needs it; uniform,\n"
        "er, erk, atp and uniform_plus read its headers only.\n\n"
        "Examples:\n"
        "  spectralctl plan ana_01K... --sparsity 0.7\n"
        "  spectralctl plan ./llama-7b --sparsity 0.7 --metric farms_alpha\n"
        "  spectralctl plan ana_01K... --sparsity 0.7 --method atp --csv\n"
        "  spectralctl plan ana_01K... --bits 3.5\n"
        "  spectralctl plan ana_01K... --sparsity 0.7 --compare --svg plans.svg\n",
    .options = plan_options,
    .n_options = ARRAY_LEN(plan_options),
};

/* Bit widths are a method of their own. */
static bool put_bits(json_t *body, const char *average)
{
    json_t *bits = json_object();
    bool ok = body_number(bits, "bits", "average", average);

    if (ok && average) {
        body_text(body, "method", "alphaq");
        (void)json_object_set(body, "bits", bits);
    }
    json_decref(bits);
    return ok;
}

/* The request but for what it is a plan of; NULL after a message. */
static json_t *plan_body(const struct plan_settings *s)
{
    json_t *body = json_object();

    body_text(body, "direction", s->direction);
    if (s->width.given)
        (void)json_object_set_new(
            body, "structure",
            json_pack("{s:s,s:I}", "kind", "width", "multiple", (json_int_t)s->width.value));
    if (plan_options_put(body, &s->options) &&
        body_number(body, "sparsity", "sparsity", s->sparsity) && put_bits(body, s->bits))
        return body;
    json_decref(body);
    return NULL;
}

static int check_compare(const struct plan_settings *s)
{
    const struct plan_options *o = &s->options;

    if (o->method || o->metric || o->epsilon || o->mapping || o->spread || o->outlier_factor ||
        o->m.given || s->width.given || s->direction || s->bits)
        return command_misused("--method, --metric, --epsilon, --mapping, --spread, "
                               "--outlier-factor, --m, --width, --direction and --bits are for one "
                               "plan, not for --compare: see --plans");
    return EXIT_DONE;
}

static int run_compare(struct context *cx, const struct plan_settings *s, const char *analysis)
{
    json_auto_t *body = json_pack("{s:s}", "analysis", analysis);

    if (!plan_options_put(body, &s->options) ||
        !body_number(body, "sparsity", "sparsity", s->sparsity))
        return EXIT_USAGE;
    return plan_compare(cx, &s->form, body, s->plans, s->svg);
}

/* Sparsities have one scale, bits another. */
static void print_blocks(const struct context *cx, const json_t *reply)
{
    bool bits = json_object_get(reply, "achieved_bits") != NULL;
    const char *ratio = bits ? "bits" : "sparsity";
    const struct table_column columns[] = {
        {"block", false, true, 0},
        {field_text(reply, "metric"), true, false, 2},
        {ratio, true, false, 0},
        {"", false, false, 1},
    };
    AUTO(table_freep) struct table *t = table_new(columns, ARRAY_LEN(columns));
    const json_t *block;
    size_t i;

    json_array_foreach(json_object_get(reply, "blocks"), i, block)
    {
        double x = json_number_value(json_object_get(block, ratio));

        table_cell(t, COLOUR_NONE, "%s", field_text(block, "block"));
        table_json(t, json_object_get(block, "metric"));
        table_cell(t, COLOUR_NONE, "%.4f", x);
        add_bar(t, cx, x, bits ? BITS_BAR : 1);
    }
    table_print(t, &cx->out);
    if (bits)
        printf("\n%s: %.4f bits a weight\n", field_text(reply, "id"),
               json_number_value(json_object_get(reply, "bits_per_weight")));
    else
        printf("\n%s: %.4f of the plan's weights, %.4f of the model's\n", field_text(reply, "id"),
               json_number_value(json_object_get(reply, "achieved_sparsity")),
               json_number_value(json_object_get(reply, "model_sparsity")));
}

static void print_tensors(const json_t *reply)
{
    bool bits = json_object_get(reply, "achieved_bits") != NULL;
    const char *const keys[] = {"name",   "block",  "role",
                                "metric", "params", bits ? "bits" : "sparsity"};
    struct table_column columns[ARRAY_LEN(keys)];
    AUTO(table_freep) struct table *t = NULL;
    const json_t *tensor;
    size_t i;

    for (size_t k = 0; k < ARRAY_LEN(keys); k++)
        columns[k] = (struct table_column){keys[k], k > 2, false, 0};
    t = table_new(columns, ARRAY_LEN(columns));
    json_array_foreach(json_object_get(reply, "tensors"), i, tensor)
    {
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            if (k <= 2)
                table_cell(t, COLOUR_NONE, "%s", field_text(tensor, keys[k]));
            else
                add_number(t, true, json_object_get(tensor, keys[k]));
    }
    table_print_csv(t, stdout);
}

/* Have `body` done and wait for it. */
static int run_job(struct context *cx, const struct plan_settings *s, json_t *body,
                   struct submit_file *file, size_t n_files, json_t **job)
{
    int status;

    if (!submit_valid(&s->submit))
        return EXIT_USAGE;
    status = submit_files(cx, &s->submit, body, file, n_files, job);
    if (status == EXIT_DONE)
        status = follow_job(cx, job, false);
    submit_end(cx, &s->submit, file, n_files, *job);
    return status;
}

/* Of a model: a job, and then its plan. */
static int plan_path(struct context *cx, const struct plan_settings *s, json_t *params,
                     const char *path, json_t **reply)
{
    json_auto_t *body = json_pack("{s:s,s:O}", "kind", "plan", "params", params), *job = NULL;
    struct submit_file file[] = {
        SUBMIT_SOURCE(path, body),
        {.path = s->stats, .in = params, .key = "stats", .pointer = "#/params/stats"}};
    AUTO(freep) char *id = NULL, *target = NULL;
    int status = run_job(cx, s, body, file, s->stats ? 2 : 1, &job);

    if (status != EXIT_DONE)
        return status;
    id = http_escape(field_text(json_object_get(job, "result"), "plan"));
    target = xasprintf("/v1/plans/%s", id);
    (void)command_call(cx, "GET", target, reply, &status);
    return status;
}

/* Of a model: its analysis, and then the comparison. */
static int compare_path(struct context *cx, const struct plan_settings *s, const char *path)
{
    json_auto_t *body = json_pack("{s:s}", "kind", "analyze"), *job = NULL;
    struct submit_file file[] = {SUBMIT_SOURCE(path, body)};
    int status = run_job(cx, s, body, file, 1, &job);

    if (status != EXIT_DONE)
        return status;
    return run_compare(cx, s, field_text(json_object_get(job, "result"), "analysis"));
}

static int plan_analysis(struct context *cx, json_t *body, const char *analysis, json_t **reply)
{
    int status = EXIT_DONE;

    (void)json_object_set_new(body, "analysis", json_string(analysis));
    (void)post(cx, "/v1/plans", body, reply, &status);
    return status;
}

static int check_plan(const struct plan_settings *s, bool of_analysis)
{
    if (!output_form_valid(&s->form))
        return EXIT_USAGE;
    if (!s->sparsity == !s->bits)
        return command_misused("--sparsity SHARE (the part of the weights to prune) or --bits "
                               "AVERAGE is required");
    if (s->bits && s->options.method)
        return command_misused("--bits has a method of its own: leave --method out");
    if ((s->svg || s->plans) && !s->compare)
        return command_misused("--svg and --plans are for --compare");
    if (plan_options_measure(&s->options) != (s->stats != NULL))
        return command_misused("--stats FILE is for --method owl and dlp, and they need it");
    if (s->stats && of_analysis)
        return command_misused("--method %s wants the PATH of the model: its weights are read",
                               s->options.method);
    return s->compare ? check_compare(s) : EXIT_DONE;
}

static int run_plan(struct context *cx, const void *settings, const struct arg_operands *operands)
{
    const struct plan_settings *s = settings;
    const char *of = operands->value[0];
    bool of_analysis = command_id_is(of, "ana_");
    json_auto_t *body = NULL, *reply = NULL;
    int status = check_plan(s, of_analysis);

    if (status != EXIT_DONE)
        return status;
    if (s->compare)
        return of_analysis ? run_compare(cx, s, of) : compare_path(cx, s, of);
    body = plan_body(s);
    if (!body)
        return EXIT_USAGE;
    status = of_analysis ? plan_analysis(cx, body, of, &reply) : plan_path(cx, s, body, of, &reply);
    if (status != EXIT_DONE)
        return status;
    if (s->form.json)
        command_print_json(reply);
    else if (s->form.csv)
        print_tensors(reply);
    else
        print_blocks(cx, reply);
    if (!s->form.json)
        command_print_warnings(cx, reply);
    return EXIT_DONE;
}

const struct command command_plan = {&plan_args, sizeof(struct plan_settings), run_plan};
