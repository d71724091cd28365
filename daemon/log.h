/* log.h: one line per event on stderr, with a syslog priority prefix that journald understands.
 *
 * Library layers never log; the daemon and the HTTP layer do, once per event. Never secrets,
 * never request bodies. Thread-safe.
 */
#ifndef SPECTRALD_LOG_H
#define SPECTRALD_LOG_H

#include "common/base.h"

void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2); /* <3> an operator must act */
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);  /* <4> something failed, service goes on */
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);  /* <6> life cycle, one line per job */
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2); /* <7> off unless log_set_debug(true) */
void log_set_debug(bool on);

#endif
