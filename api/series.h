/* series.h: one metric of every layer over the steps of labelled runs.
 *
 * A series is made in pieces, so that no thread is held for long: list the analyses (store
 * thread), put them in order (writer thread), read their rows (store thread), write the text
 * (writer thread). One thread at a time.
 */
#ifndef SPECTRALD_SERIES_H
#define SPECTRALD_SERIES_H

#include "api/doc.h"
#include "api/immutable.h"
#include "daemon/labels.h"

#define SERIES_ANALYSES_MAX 20000  /* with the label; more are refused */
#define SERIES_STEPS_MAX    1000   /* in one reply */
#define SERIES_LAYERS_MAX   10000  /* of all its runs together */
#define SERIES_VALUES_MAX   500000 /* layers times steps */
#define SERIES_AT_ONCE      8      /* being made; each may take 40 MB */
#define SERIES_NAME_MAX     4096

struct series_ask {
    char label[LABEL_KEY_MAX + 1], value[LABEL_VALUE_MAX + 1];
    bool any_value;
    char step_label[LABEL_KEY_MAX + 1];
    const char *metric;      /* static */
    const char *role, *type; /* static, or NULL */
    char *layer;             /* a longname; NULL = all */
    char *url;               /* with all parameters but the token */
    const struct immutable_form *form;
    struct page page;
};

struct series;

/* Takes the contents of `ask`. */
struct series *series_new(struct series_ask *ask);
void series_free(struct series *s); /* NULL is fine */

/* List some more analyses. 1 = there may be more, 0 = that was all. ERR_LIMIT when there are more
 * than SERIES_ANALYSES_MAX. */
int series_list_some(struct series *s, struct store *st, struct err *err);

/* Order them: by the label's value; in each run by the step, as a number when all its steps are
 * numbers, else as text; those without a step last, by time. Of equal steps the newest analysis
 * stays. Then choose the page. */
void series_order(struct series *s);

/* After series_order(): a strong tag of what the reply will be. */
void series_etag(const struct series *s, char out[DOC_ETAG_MAX]);

/* Read the rows of some more analyses. 1 = there are more, 0 = that was all. The page ends early
 * where a limit would be passed. ERR_LIMIT when one analysis alone passes it. */
int series_read_some(struct series *s, struct store *st, struct err *err);

/* Write the reply, as JSON or CSV. */
void series_write(const struct series *s, struct immutable_text *out);

/* Decimal notation, finite: what counts as a step that is a number. */
bool series_number(const char *s, double *out);

/* True for a numeric column of layer rows; *out is static. */
bool series_metric(const char *name, const char **out);

#endif
