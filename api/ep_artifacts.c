/* ep_artifacts.c: /v1/artifacts: what there is, and removing it. */
#include "api/artifact_request.h"
#include "api/ep.h"
#include "api/list.h"
#include "common/json_out.h"
#include "daemon/artifacts.h"
#include "daemon/row_text.h"

#include <stdio.h>
#include <string.h>

struct reply *artifact_refused(const struct err *err)
{
    if (err->code == ERR_NOT_FOUND)
        return reply_problem(ERR_NOT_FOUND, "no such artifact, or no such file in it; it may have "
                                            "expired");
    return reply_err(err);
}

int artifact_id(struct request *rq, char id[IDENT_MAX], struct err *err)
{
    int r = query_check_unused(&rq->query, err);

    if (r < 0)
        return r;
    if (!ident_valid(rq->match.arg[0], "art_"))
        return err_set(err, ERR_NOT_FOUND, "no such artifact");
    (void)snprintf(id, IDENT_MAX, "%s", rq->match.arg[0]);
    return 0;
}

/* What a client may know: where the server keeps its own is its own affair. */
static void write_head(struct buf *b, const struct artifact_record *a)
{
    buf_printf(b, "{");
    json_text_key_string(b, "id", a->id);
    json_text_key_string(b, "job", a->job);
    json_out_text(b, "name", a->name);
    json_out_text(b, "path", a->ours ? NULL : a->path);
    json_text_key_int(b, "bytes", (int64_t)a->nbytes);
    json_text_key_int(b, "n_files", (int64_t)a->n_files);
    json_out_time(b, "created_at", a->created_ms);
    json_out_time(b, "expires_at", a->expires_ms);
    json_text_key(b, "links");
    buf_printf(b,
               "{\"self\":\"/v1/artifacts/%s\",\"job\":\"/v1/jobs/%s\","
               "\"tar\":\"/v1/artifacts/%s/tar\"}",
               a->id, a->job, a->id);
}

static bool is_head(const struct row_member *m)
{
    static const char *const names[] = {"id",      "job",        "name",       "path", "bytes",
                                        "n_files", "created_at", "expires_at", "links"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strlen(names[i]) == m->name_len && memcmp(names[i], m->name, m->name_len) == 0)
            return true;
    return false;
}

/* The manifest's members follow as the job wrote them. */
static int write_artifact(struct buf *b, const struct artifact_record *a, struct err *err)
{
    struct row_text manifest;

    if (!row_text_parse(a->manifest, &manifest))
        return err_set(err, ERR_INTERNAL, "the manifest of artifact %s cannot be read", a->id);
    write_head(b, a);
    for (size_t i = 0; i < manifest.count; i++) {
        const struct row_member *m = &manifest.member[i];

        if (is_head(m))
            continue;
        buf_printf(b, ",\"%.*s\":", (int)m->name_len, m->name);
        buf_put(b, m->value, m->len);
    }
    buf_put_u8(b, '}');
    return 0;
}

/* --- GET /v1/artifacts -------------------------------------------------------------------------
 */

static int find_artifacts(struct store *st, const struct list_query *q, struct list_page *page,
                          struct err *err)
{
    struct artifact_list found = {0};
    int r = store_artifact_list(st, &q->page, &found, err);

    for (size_t i = 0; i < found.count; i++) {
        const struct artifact_record *x = &found.artifact[i];
        struct buf *b = list_entry(page, x->created_ms, x->id);

        if (b) {
            write_head(b, x);
            buf_put_u8(b, '}');
        }
    }
    artifact_list_done(&found);
    return r;
}

struct reply *ep_artifacts_list(struct request *rq)
{
    static const struct list_kind kind = {"artifacts", 0, find_artifacts};

    return list_handle(rq, &kind);
}

/* --- GET, DELETE /v1/artifacts/{artifact} ------------------------------------------------------
 */

static struct reply *get_artifact(const void *args, struct store *st)
{
    struct artifact_record a = {0};
    AUTO(buf_done) struct buf body = BUF_INIT;
    struct err err;
    int r = store_artifact_get(st, args, &a, &err);

    if (r == 0)
        r = write_artifact(&body, &a, &err);
    artifact_record_done(&a);
    return r == 0 ? reply_json_take(200, &body) : artifact_refused(&err);
}

struct reply *ep_artifacts_get(struct request *rq)
{
    char id[IDENT_MAX];
    struct err err;

    if (artifact_id(rq, id, &err) < 0)
        return artifact_refused(&err);
    return request_read(rq, get_artifact, id, sizeof id);
}

static void on_removed(void *arg, const struct err *err)
{
    struct request *rq = ticket_redeem(arg);

    if (rq)
        request_finish(rq, err ? artifact_refused(err) : reply_empty(204));
}

struct reply *ep_artifacts_delete(struct request *rq)
{
    char id[IDENT_MAX];
    struct err err;

    if (artifact_id(rq, id, &err) < 0)
        return artifact_refused(&err);
    service_artifact_remove(rq->api->svc, id, on_removed, request_ticket(rq));
    return reply_suspend();
}
