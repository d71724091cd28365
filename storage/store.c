/* store.c: the records' life cycle; what every backend shares. */
#include "storage/store.h"

#include <stdlib.h>
#include <string.h>

static const char *const state_name[] = {"queued",    "running", "cancelling",
                                         "succeeded", "failed",  "cancelled"};
_Static_assert(ARRAY_LEN(state_name) == JOB_STATE_COUNT, "a name for every state");

const char *job_state_name(enum job_state s)
{
    return state_name[s];
}

int job_state_from_name(const char *name)
{
    for (int i = 0; i < JOB_STATE_COUNT; i++)
        if (strcmp(state_name[i], name) == 0)
            return i;
    return -1;
}

bool job_state_final(enum job_state s)
{
    return s == JOB_SUCCEEDED || s == JOB_FAILED || s == JOB_CANCELLED;
}

void job_record_done(struct job_record *j)
{
    free(j->kind);
    free(j->owner);
    free(j->reason);
    free(j->source);
    free(j->params);
    free(j->labels);
    free(j->result);
    free(j->error);
    memset(j, 0, sizeof *j);
}

static char *copy_text(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

void job_record_copy(struct job_record *to, const struct job_record *from)
{
    *to = *from;
    to->kind = copy_text(from->kind);
    to->owner = copy_text(from->owner);
    to->reason = copy_text(from->reason);
    to->source = copy_text(from->source);
    to->params = copy_text(from->params);
    to->labels = copy_text(from->labels);
    to->result = copy_text(from->result);
    to->error = copy_text(from->error);
}

void job_list_done(struct job_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        job_record_done(&l->job[i]);
    free(l->job);
    *l = (struct job_list){NULL, 0};
}

void model_record_done(struct model_record *m)
{
    free(m->format);
    free(m->model_type);
    free(m->name);
    memset(m, 0, sizeof *m);
}

void model_list_done(struct model_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        model_record_done(&l->model[i]);
    free(l->model);
    *l = (struct model_list){NULL, 0};
}

void analysis_record_done(struct analysis_record *a)
{
    free(a->owner);
    free(a->labels);
    free(a->params);
    free(a->summary);
    memset(a, 0, sizeof *a);
}

void analysis_list_done(struct analysis_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        analysis_record_done(&l->analysis[i]);
    free(l->analysis);
    *l = (struct analysis_list){NULL, 0};
}

void file_record_done(struct file_record *f)
{
    buf_done(&f->table);
    buf_done(&f->digests);
}

void layer_row_done(struct layer_row *r)
{
    free(r->longname);
    free(r->json);
    memset(r, 0, sizeof *r);
}

void layer_row_list_done(struct layer_row_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        layer_row_done(&l->row[i]);
    free(l->row);
    *l = (struct layer_row_list){NULL, 0};
}
