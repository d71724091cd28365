/* job_json.h: a job as clients see it. */
#ifndef SPECTRALD_JOB_JSON_H
#define SPECTRALD_JOB_JSON_H

#include "common/buf.h"
#include "daemon/service.h"

#define JOB_ETAG_MAX 72

/* Append the JSON object of a job. */
void job_json_write(struct buf *out, const struct job_view *view);

/* The view of a stored record about which nothing live is known. */
void job_json_stored(const struct job_record *job, struct job_view *out);

/* The strong entity tag, with its quotes: changes with every visible change. */
void job_json_etag(const struct job_view *view, char out[JOB_ETAG_MAX]);

#endif
