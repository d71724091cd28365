/* artifact_manifest.c: see artifact_manifest.h. Only `files` is parsed: what a job reports beside
 * them may be a megabyte. */
#include "daemon/artifact_manifest.h"

#include "daemon/row_text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

void artifact_manifest_done(struct artifact_manifest *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->file[i].name);
    free(m->file);
    *m = (struct artifact_manifest){NULL, 0};
}

static bool name_fine(const char *name)
{
    size_t n = strlen(name);

    return n > 0 && n <= ARTIFACT_NAME_MAX && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           !strchr(name, '/');
}

static bool read_file(const json_t *j, struct artifact_file *f)
{
    const char *name = json_string_value(json_object_get(j, "name"));
    const json_t *nbytes = json_object_get(j, "bytes");
    const char *hex = json_string_value(json_object_get(j, "blake2b"));

    if (!name || !name_fine(name) || !json_is_integer(nbytes) || json_integer_value(nbytes) < 0 ||
        !hex || strlen(hex) != DIGEST_HEX_LEN || !digest_from_hex(hex, &f->blake2b))
        return false;
    f->name = xstrdup(name);
    f->nbytes = (uint64_t)json_integer_value(nbytes);
    return true;
}

static json_t *files_of(const char *text)
{
    struct row_text members;
    const struct row_member *files;

    if (!row_text_parse(text, &members) || !(files = row_text_find(&members, "files", 0)))
        return NULL;
    return json_loadb(files->value, files->len, JSON_REJECT_DUPLICATES, NULL);
}

int artifact_manifest_parse(const char *text, struct artifact_manifest *out, struct err *err)
{
    json_auto_t *files = files_of(text);
    struct artifact_manifest m = {0};
    const json_t *j;
    size_t i;
    bool fine = json_is_array(files) && json_array_size(files) <= ARTIFACT_FILES_MAX;

    if (fine)
        m.file = xcalloc(json_array_size(files) + 1, sizeof *m.file);
    json_array_foreach(files, i, j)
    {
        fine = fine && read_file(j, &m.file[m.count]);
        m.count += fine;
    }
    if (!fine) {
        artifact_manifest_done(&m);
        return err_set(err, ERR_INTERNAL, "the manifest of an artifact cannot be read");
    }
    *out = m;
    return 0;
}

const struct artifact_file *artifact_manifest_find(const struct artifact_manifest *m,
                                                   const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->file[i].name, name) == 0)
            return &m->file[i];
    return NULL;
}
