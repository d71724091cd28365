/* notify.h: telling systemd how we are (sd_notify protocol), without a library. */
#ifndef SPECTRALD_NOTIFY_H
#define SPECTRALD_NOTIFY_H

/* Send one message, e.g. "READY=1" or "STATUS=…". Does nothing outside systemd. */
void notify_state(const char *message);

/* "WATCHDOG=1", when the unit asks for it. */
void notify_watchdog(void);

#endif
