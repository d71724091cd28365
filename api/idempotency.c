/* idempotency.c: see idempotency.h. */
#include "api/idempotency.h"

#include <string.h>
#include <strings.h>

static int bad(struct err *err)
{
    return err_set(err, ERR_INVALID,
                   "header Idempotency-Key: expected 1 to %d visible ASCII characters, bare or in "
                   "double quotes",
                   IDEMPOTENCY_KEY_MAX);
}

int idempotency_key_parse(const char *value, char out[IDEMPOTENCY_KEY_MAX + 1], struct err *err)
{
    char key[IDEMPOTENCY_KEY_MAX + 1];
    bool quoted = *value == '"';
    size_t n = 0;

    for (value += quoted; *value && !(quoted && *value == '"'); value++) {
        if (quoted && *value == '\\') /* RFC 8941 escapes these two and nothing else */
            if (*++value != '"' && *value != '\\')
                return bad(err);
        if (*value < '!' || *value > '~' || n == IDEMPOTENCY_KEY_MAX)
            return bad(err);
        key[n++] = *value;
    }
    if (quoted && *value++ != '"')
        return bad(err);
    if (n == 0 || *value)
        return bad(err);
    memcpy(out, key, n);
    out[n] = '\0';
    return 0;
}

struct search {
    const char *value;
    unsigned count;
};

static enum MHD_Result see(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct search *s = arg;

    (void)kind;
    if (strcasecmp(name, "Idempotency-Key") == 0) {
        s->value = value ? value : "";
        s->count++;
    }
    return MHD_YES;
}

int idempotency_key(const struct request *rq, char out[IDEMPOTENCY_KEY_MAX + 1], struct err *err)
{
    struct search s = {.count = 0};

    (void)MHD_get_connection_values(rq->mhd, MHD_HEADER_KIND, see, &s);
    if (s.count > 1)
        return err_set(err, ERR_INVALID, "header Idempotency-Key: given more than once");
    if (s.count == 1)
        return idempotency_key_parse(s.value, out, err);
    out[0] = '\0';
    return 0;
}
