/* problem.h: error documents (RFC 9457, application/problem+json).
 *
 * One table maps every error code to an HTTP status, a stable type URI "/problems/<name>" and a
 * title. Members: type, title, status, detail, code, errors (the field at fault), and instance,
 * the request id, which the reply adds when it is sent.
 */
#ifndef SPECTRALD_PROBLEM_H
#define SPECTRALD_PROBLEM_H

#include <jansson.h>

#include "common/err.h"

/* Faults of HTTP itself; beside enum err_code, whose values are negative. */
enum http_fault {
    FAULT_METHOD = 1,     /* 405 */
    FAULT_NO_CONDITION,   /* 428: If-Match is missing */
    FAULT_MEDIA_TYPE,     /* 415 */
    FAULT_URI_LENGTH,     /* 414 */
    FAULT_HOST,           /* 421 */
    FAULT_NOT_ACCEPTABLE, /* 406 */
    FAULT_RANGE,          /* 416 */
};

struct problem_type {
    int code; /* enum err_code or enum http_fault */
    unsigned status;
    const char *name; /* member "code": "not_found" */
    const char *uri;  /* "/problems/not-found" */
    const char *title;
    bool private_text; /* the detail may tell about the inside: log it, do not send it */
};

/* Entry of a code; unknown codes give that of ERR_INTERNAL. Static. */
const struct problem_type *problem_type(int code);

/* Entry by its name, or that of ERR_INTERNAL. */
const struct problem_type *problem_type_named(const char *name);

/* The document, without instance. `pointer`: "" or a JSON pointer into the body ("/params/x",
 * sent as "#/params/x"), or "?name" for a query parameter (sent as "parameter"). The caller owns
 * the result. */
json_t *problem_json(int code, const char *pointer, const char *detail);

#endif
