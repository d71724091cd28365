/* plans.h: what the server keeps for plans. */
#ifndef SPECTRALD_PLANS_H
#define SPECTRALD_PLANS_H

struct plans;
struct plans *plans_new(void);
void plans_unref(struct plans *p); /* NULL is fine */

#endif
