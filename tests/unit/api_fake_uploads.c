/* api_fake_uploads.c: a service that has no room for uploads. How they are received is tested over
 * HTTP with the real daemon. */
#include "daemon/uploads.h"

int service_upload_begin(struct service *s, const struct upload_request *rq,
                         void (*ready)(void *arg), void *arg, struct upload_in **out,
                         struct err *err)
{
    (void)s;
    (void)ready;
    (void)arg;
    (void)out;
    if (rq->length > 1000000)
        return err_set(err, ERR_TOO_LARGE, "too large");
    return err_set(err, ERR_QUOTA, "no room");
}

bool service_upload_write(struct upload_in *u, const void *bytes, size_t len)
{
    (void)u;
    (void)bytes;
    (void)len;
    ASSERT(!u); /* no upload begins here */
    return false;
}

const struct err *service_upload_failure(const struct upload_in *u)
{
    (void)u;
    return NULL;
}

void service_upload_end(struct upload_in *u, upload_cb *cb, void *arg)
{
    (void)u;
    (void)cb;
    (void)arg;
    ASSERT(!u); /* no upload begins here */
}

void service_upload_abort(struct upload_in *u)
{
    (void)u;
}

void service_upload_remove(struct service *s, const char *id, upload_cb *cb, void *arg)
{
    (void)s;
    (void)id;
    (void)cb;
    (void)arg;
    ASSERT(!id); /* no upload is ever complete here */
}
