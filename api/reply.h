/* reply.h: what a handler returns. A reply comes from these constructors only.
 *
 * Every reply is owned by whoever holds it and ends in reply_queue() or reply_free(). Replies may
 * be built on any thread.
 */
#ifndef SPECTRALD_REPLY_H
#define SPECTRALD_REPLY_H

#include <jansson.h>
#include <microhttpd.h>

#include "common/buf.h"
#include "common/err.h"

struct doc;
struct reply;

/* Body: the buffer, emptied into the reply. `type` is a string literal. */
struct reply *reply_take(unsigned status, const char *type, struct buf *body);
/* The same with type application/json. */
struct reply *reply_json_take(unsigned status, struct buf *body);
/* A copy of `text`, text/plain. */
struct reply *reply_text(unsigned status, const char *text);
/* Bytes that outlive the server. */
struct reply *reply_static(unsigned status, const char *type, const void *bytes, size_t len);
struct reply *reply_empty(unsigned status);
/* A document that may be kept for ever (takes a reference), or 304 when the client has it. */
struct reply *reply_doc(struct doc *doc, bool not_modified);
/* `len` bytes of a file, from `offset` on, sent without passing through this process (sendfile).
 * Takes the descriptor and leaves -1. */
struct reply *reply_file(unsigned status, const char *type, int *fd, uint64_t offset, uint64_t len);
/* `len` bytes that `read` makes while they are sent, on the loop thread; it may suspend the
 * connection and return 0. `gone(arg)` is called once, also when the reply is never sent. */
struct reply *reply_made(unsigned status, const char *type, uint64_t len,
                         MHD_ContentReaderCallback read, MHD_ContentReaderFreeCallback gone,
                         void *arg);

/* An error document; `code` is an enum err_code or an enum http_fault. */
struct reply *reply_problem(int code, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct reply *reply_err(const struct err *err);

/* No answer yet: the handler has started something that will end in request_finish(). */
struct reply *reply_suspend(void);
bool reply_is_suspend(const struct reply *r);

void reply_free(struct reply *r);
DEFINE_AUTO(struct reply, reply_free)

/* Add a header; at most 6. `name` is a string literal. Returns r. */
struct reply *reply_header(struct reply *r, const char *name, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

unsigned reply_status(const struct reply *r);

/* The text of an error that is not shown to the client, for the log; "" when there is none. */
const char *reply_private_text(const struct reply *r);

/* True when the body would gain from gzip: text of some length. Such a reply varies with
 * Accept-Encoding. */
bool reply_compressible(const struct reply *r);
/* Encode the body, where that makes it smaller. Takes time: not for the loop thread. */
void reply_compress(struct reply *r);

/* Hand the reply to the connection and free it. `request_id` becomes X-Request-Id and the
 * instance of a problem. *nbytes = body length. MHD_NO: the connection must be closed. */
enum MHD_Result reply_queue(struct reply *r, struct MHD_Connection *c, const char *request_id,
                            bool close, size_t *nbytes);

#endif
