/* analyze.c: the order of the stages of a job, of whatever kind. */
#include "daemon/analyze_activity.h"
#include "daemon/analyze_base.h"
#include "daemon/analyze_weigh.h"

#include "common/fdio.h"
#include "daemon/locate.h"
#include "daemon/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const stage_name[] = {[STAGE_OPEN] = "opening",
                                         [STAGE_OPEN_BASE] = "opening",
                                         [STAGE_SIDE_FILES] = "reading headers",
                                         [STAGE_SHARDS] = "opening",
                                         [STAGE_TABLES] = "reading headers",
                                         [STAGE_BUILD] = "reading headers",
                                         [STAGE_CHECK_PLAN] = "reading headers",
                                         [STAGE_DIGEST] = "hashing",
                                         [STAGE_IDENTIFY] = "hashing",
                                         [STAGE_LOOKUP] = "looking up",
                                         [STAGE_COMPUTE] = "computing",
                                         [STAGE_FARMS] = "computing",
                                         [STAGE_MEASURES] = "computing",
                                         [STAGE_PLAN] = "planning",
                                         [STAGE_PRUNE] = "pruning",
                                         [STAGE_DISTANCES] = "computing",
                                         [STAGE_DISTANCES_END] = "storing",
                                         [STAGE_REPORT] = "storing",
                                         [STAGE_END] = "storing"};

static void input_init(struct input *in, const struct source_file *f, enum inspect_kind kind)
{
    *in = (struct input){.file = f, .kind = (uint8_t)kind, .reply_fd = -1};
}

static void input_done(struct input *in)
{
    buf_done(&in->bytes);
    buf_done(&in->digests);
    fd_close(&in->reply_fd);
}

static void layer_work_done(struct layer_work *w)
{
    buf_done(&w->spectrum);
    for (size_t i = 0; w->gram_fd && i < w->parts; i++)
        fd_close(&w->gram_fd[i]);
    free(w->gram_fd);
}

void analyze_free(struct analyze *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n_inputs; i++)
        input_done(&a->input[i]);
    free(a->input);
    analyze_farms_free(a);
    analyze_measures_free(a);
    analyze_histograms_free(a);
    analyze_weigh_free(a);
    for (size_t i = 0; a->lw && i < a->layers.count; i++)
        layer_work_done(&a->lw[i]);
    free(a->lw);
    for (size_t i = 0; a->table && i < a->n_tables; i++) {
        tensor_table_done(&a->table[i]);
        if (a->unit_of)
            free(a->unit_of[i]);
    }
    free(a->table);
    free(a->unit_of);
    free(a->unit);
    free(a->leaf);
    free(a->summary);
    free(a->params_text);
    analyze_prune_free(a);
    analyze_activity_free(a);
    analyze_plan_free(a);
    analyze_distances_free(a);
    job_record_done(&a->final);
    hf_index_done(&a->index);
    layer_list_done(&a->layers);
    analyze_params_done(&a->params);
    source_free(a->source);
    analyze_base_free(a);
    free(a);
}

bool analyze_goes_on(struct analyze *a, const char *pointer)
{
    if (a->job->ended)
        return false;
    if (a->err.code && pointer)
        snprintf(a->err.pointer, sizeof a->err.pointer, "%s", pointer);
    if (a->err.code)
        job_fail_err(a->job, &a->err);
    return a->err.code == 0;
}

void analyze_needs_work(struct analyze *a)
{
    a->need_work = true;
    job_decided(a->job);
}

/* --- opening ------------------------------------------------------------------------------- */

static void opened(void *arg, const struct err *err, struct source *src)
{
    struct analyze *a = arg;
    struct job *j = a->job;

    if (j->ended) {
        source_free(src);
    } else if (err) {
        job_fail_err(j, err);
    } else {
        a->source = src;
        analyze_next(a);
    }
    job_unref(j);
}

static void open_source(struct analyze *a)
{
    AUTO(source_ref_done) struct source_ref ref = {.path = NULL};
    json_t *source = json_loads(a->job->rec.source, 0, NULL);
    struct err err;
    int r = source_ref_parse(source, &ref, &err);

    json_decref(source);
    if (r < 0) {
        job_fail_err(a->job, &err);
        return;
    }
    (void)job_ref(a->job);
    locate_source(a->job->svc, &ref, opened, a);
}

static int open_shards(struct analyze *a, struct source *s, struct hf_index *ix, bool *have)
{
    const struct input *in = a->input;

    if (*have || s->index.fd < 0)
        return 0;
    while (in->file != &s->index)
        in++;
    if (hf_index_read(in->bytes.data, in->bytes.len, ix, &a->err) < 0)
        return a->err.code;
    *have = true;
    return source_open_shards(s, ix, &a->err);
}

static void shards_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct base_model *b = a->base;

    (void)state;
    a->err.code = 0;
    if (open_shards(a, a->source, &a->index, &a->have_index) == 0 && b &&
        open_shards(a, b->source, &b->index, &b->have_index) < 0)
        snprintf(a->err.pointer, sizeof a->err.pointer, "/params/base");
}

static void stage_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    if (a->job->ended)
        return;
    if (group_err)
        job_fail_err(a->job, group_err);
    else if (a->err.code)
        job_fail_err(a->job, &a->err);
    else
        analyze_next(a);
}

/* --- stages -------------------------------------------------------------------------------- */

static void load_side_files(struct analyze *a)
{
    const struct source *s = a->source;

    a->input = xcalloc(5, sizeof *a->input);
    if (s->index.fd >= 0)
        input_init(&a->input[a->n_inputs++], &s->index, INSPECT_HF_INDEX);
    if (s->config.fd >= 0)
        input_init(&a->input[a->n_inputs++], &s->config, INSPECT_HF_CONFIG);
    if (s->adapter_config.fd >= 0)
        input_init(&a->input[a->n_inputs++], &s->adapter_config, INSPECT_ADAPTER_CONFIG);
    if (a->base && a->base->source->index.fd >= 0)
        input_init(&a->input[a->n_inputs++], &a->base->source->index, INSPECT_HF_INDEX);
    if (a->base && a->base->source->config.fd >= 0)
        input_init(&a->input[a->n_inputs++], &a->base->source->config, INSPECT_HF_CONFIG);
    a->n_side = a->n_inputs;
    analyze_load_inputs(a, 0);
}

static void load_tables(struct analyze *a)
{
    a->n_own = a->source->n_files;
    a->n_tables = a->n_own + (a->base ? a->base->source->n_files : 0);
    a->input = xrealloc(a->input, (a->n_side + a->n_tables) * sizeof *a->input);
    for (uint32_t f = 0; f < a->n_tables; f++)
        input_init(&a->input[a->n_inputs++], analyze_file(a, f), INSPECT_SAFETENSORS);
    analyze_load_inputs(a, a->n_side);
}

static void enter(struct analyze *a)
{
    a->job->stage = stage_name[a->stage];
    job_changed(a->job);
    switch (a->stage) {
    case STAGE_OPEN:
        open_source(a);
        break;
    case STAGE_OPEN_BASE:
        analyze_open_base(a);
        break;
    case STAGE_SIDE_FILES:
        load_side_files(a);
        break;
    case STAGE_SHARDS:
        job_call_file(a->job, shards_run, stage_done, a);
        break;
    case STAGE_TABLES:
        load_tables(a);
        break;
    case STAGE_BUILD:
        analyze_build(a);
        break;
    case STAGE_CHECK_PLAN:
        analyze_plan_check(a);
        break;
    case STAGE_DIGEST:
        analyze_digest(a);
        break;
    case STAGE_IDENTIFY:
        analyze_identify(a);
        break;
    case STAGE_LOOKUP:
        analyze_lookup(a);
        break;
    case STAGE_COMPUTE:
        analyze_compute(a);
        break;
    case STAGE_FARMS:
        analyze_farms(a);
        break;
    case STAGE_MEASURES:
        analyze_measures(a);
        break;
    case STAGE_PLAN:
        analyze_plan_make(a);
        break;
    case STAGE_PRUNE:
        analyze_prune(a);
        break;
    case STAGE_DISTANCES:
        analyze_distances(a);
        break;
    case STAGE_DISTANCES_END:
        analyze_distances_end(a);
        break;
    case STAGE_REPORT:
        analyze_report(a);
        break;
    case STAGE_END:
        break;
    }
}

bool analyze_is_analysed(const struct analyze *a)
{
    return a->plan ? analyze_plan_needs_spectra(a) : !a->prune && !a->distances;
}

/* What a job leaves out. */
static bool is_needed(const struct analyze *a, enum stage stage)
{
    switch (stage) {
    case STAGE_OPEN_BASE:
        return a->params.have_base;
    case STAGE_PLAN:
        return a->plan != NULL;
    case STAGE_CHECK_PLAN:
        return a->plan && analyze_plan_needs_spectra(a);
    case STAGE_DIGEST:
    case STAGE_IDENTIFY:
        return a->plan ? analyze_plan_needs_digests(a) : !a->prune;
    case STAGE_LOOKUP:
        return a->plan ? analyze_plan_needs_digests(a) : !a->prune && !a->distances;
    case STAGE_COMPUTE:
    case STAGE_FARMS:
    case STAGE_MEASURES:
        return analyze_is_analysed(a);
    case STAGE_PRUNE:
        return a->prune != NULL;
    case STAGE_DISTANCES:
    case STAGE_DISTANCES_END:
        return a->distances != NULL;
    default:
        return true;
    }
}

void analyze_next(struct analyze *a)
{
    if (a->job->ended)
        return;
    do {
        ASSERT(a->stage < STAGE_END);
        a->stage++;
    } while (!is_needed(a, a->stage));
    enter(a);
}

void analyze_start(struct job *j, struct source *src)
{
    struct analyze *a = xcalloc(1, sizeof *a);
    json_t *params = json_loads(j->rec.params, 0, NULL);
    struct err err = {0};
    int r;

    a->job = j;
    j->work = a;
    a->layers = (struct layer_list)LAYER_LIST_INIT;
    a->source = src;
    r = strcmp(j->rec.kind, "plan") == 0        ? analyze_plan_start(a, params, &err)
        : strcmp(j->rec.kind, "prune") == 0     ? analyze_prune_start(a, params, &err)
        : strcmp(j->rec.kind, "decode") == 0    ? analyze_decode_start(a, params, &err)
        : strcmp(j->rec.kind, "smooth") == 0    ? analyze_smooth_start(a, params, &err)
        : strcmp(j->rec.kind, "distances") == 0 ? analyze_distances_start(a, params, &err)
                                                : analyze_params_parse(params, &a->params, &err);
    json_decref(params);
    if (r < 0) { /* stored by another version of the program */
        job_fail_err(j, &err);
        return;
    }
    a->params_text = analyze_params_text(&a->params);
    /* Begun again after a crash, the job makes the same analysis, and the same plan of it. */
    snprintf(a->analysis_id, sizeof a->analysis_id, "ana_%s", j->rec.id + strlen("job_"));
    if (src)
        analyze_next(a);
    else
        enter(a);
}
