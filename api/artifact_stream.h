/* artifact_stream.h: an archive on its way to a client.
 *
 * While a piece of it is read on the file thread, the connection is suspended.
 */
#ifndef SPECTRALD_ARTIFACT_STREAM_H
#define SPECTRALD_ARTIFACT_STREAM_H

#include "api/request.h"
#include "daemon/artifacts.h"

/* The reply to a request whose body is the archive; takes it. */
struct reply *artifact_stream_reply(struct request *rq, struct artifact_tar *tar);

/* The server stops: no archive waits for its next piece any more, each breaks off. */
void artifact_streams_stop(struct api *api);

#endif
