/* label_change.c: see label_change.h. */
#include "api/label_change.h"

#include "api/problem.h"
#include "daemon/labels.h"
#include "daemon/member.h"

struct reply *label_change_read(struct request *rq, struct label_change *out)
{
    static const char *const members[] = {"labels"};
    struct err err;

    if (!request_header(rq, "If-Match"))
        return reply_problem(FAULT_NO_CONDITION, "send If-Match with the ETag that this change is "
                                                 "made from, or * for whatever it is now");
    if (!etag_list(rq, "If-Match", out->if_match))
        return reply_problem(ERR_INVALID, "header If-Match: longer than %d bytes", ETAG_LIST_MAX);
    out->patch = json_object_get(rq->json, "labels");
    if (query_check_unused(&rq->query, &err) < 0 ||
        member_check(rq->json, members, ARRAY_LEN(members), &err) < 0 ||
        labels_check_patch(out->patch, &err) < 0)
        return reply_err(&err);
    return NULL;
}
