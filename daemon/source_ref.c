/* source_ref.c: what a job reads, as it stands in a request. */
#include "daemon/locate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void source_ref_done(struct source_ref *r)
{
    free(r->path);
    *r = (struct source_ref){.path = NULL};
}

static int check_members(const json_t *source, struct err *err)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)source, key, v)
    {
        char pointer[ERR_POINTER_MAX];

        if (strcmp(key, "path") == 0 || strcmp(key, "upload") == 0)
            continue;
        snprintf(pointer, sizeof pointer, "/source/%.64s", key);
        return err_set_at(err, ERR_INVALID, pointer,
                          "source has no member \"%.64s\"; give a path or an upload", key);
    }
    if (json_object_get(source, "path") && json_object_get(source, "upload"))
        return err_set_at(err, ERR_INVALID, "/source",
                          "source has both a path and an upload; give one");
    return 0;
}

int source_ref_parse(const json_t *source, struct source_ref *out, struct err *err)
{
    const json_t *path = json_object_get(source, "path");
    const json_t *upload = json_object_get(source, "upload");
    struct source_ref r = {.path = NULL};
    int fault = check_members(source, err);

    if (fault < 0)
        return fault;
    if (upload) {
        const char *id = json_string_value(upload);

        if (!id || !ident_valid(id, "upl_"))
            return err_set_at(err, ERR_INVALID, "/source/upload",
                              "source.upload must be the id of an upload, upl_…");
        snprintf(r.upload, sizeof r.upload, "%s", id);
        *out = r;
        return 0;
    }
    if (!json_is_string(path) || json_string_length(path) == 0)
        return err_set_at(err, ERR_INVALID, "/source/path", "source.path must be a string");
    if (strlen(json_string_value(path)) != json_string_length(path))
        return err_set_at(err, ERR_INVALID, "/source/path", "source.path holds a NUL character");
    r.path = xstrdup(json_string_value(path));
    *out = r;
    return 0;
}
