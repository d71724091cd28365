/* body.h: members of what is sent, from options. NULL, a count not given or an empty list: no
 * member. */
#ifndef SPECTRALCTL_BODY_H
#define SPECTRALCTL_BODY_H

#include <jansson.h>

#include "cli/args.h"

void body_text(json_t *body, const char *key, const char *text);
void body_count(json_t *body, const char *key, const struct arg_count *n);
void body_list(json_t *body, const char *key, const struct arg_list *list);
/* The same; what is a number is sent as one. */
void body_layers(json_t *body, const char *key, const struct arg_list *list);

/* A number given as text; false after a message that names the option. */
bool body_number(json_t *body, const char *option, const char *key, const char *text);

/* "labels" from KEY=VALUE each; false after a message. */
bool body_labels(json_t *body, const struct arg_list *labels);

#endif
