/* csv_file.c: see csv_file.h. */
#include "cli/csv_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- the bytes ------------------------------------------------------------------------------- */

int text_file_read(const char *path, struct buf *out, struct err *err)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *in = standard ? stdin : fopen(path, "re");
    struct buf text = BUF_INIT;
    uint8_t part[1 << 16];
    size_t n = 0;
    int r = 0;

    if (!in)
        return err_set_errno(err, errno, "cannot open %s", path);
    while (text.len <= TEXT_FILE_MAX && (n = fread(part, 1, sizeof part, in)) > 0)
        buf_put(&text, part, n);
    if (ferror(in))
        r = err_set_errno(err, errno, "cannot read %s", path);
    else if (text.len > TEXT_FILE_MAX)
        r = err_set(err, ERR_LIMIT, "%s is larger than %d MiB", path, TEXT_FILE_MAX >> 20);
    else if (text.len && memchr(text.data, '\0', text.len))
        r = err_set(err, ERR_FORMAT, "%s is not a text", path);
    if (!standard)
        fclose(in);
    if (r < 0) {
        buf_done(&text);
        return r;
    }
    buf_put_u8(&text, '\0');
    text.len--;
    *out = text;
    return 0;
}

/* --- rows ------------------------------------------------------------------------------------ */

struct scan {
    const char *at;
    size_t line;
};

/* The quoted text that starts at `at`. */
static int read_quoted(struct scan *s, struct buf *cell, struct err *err)
{
    size_t first = s->line;

    for (s->at++; *s->at != '"' || s->at[1] == '"'; s->at++) {
        if (!*s->at)
            return err_set(err, ERR_FORMAT, "line %zu: a quote is never closed", first);
        s->at += *s->at == '"';
        s->line += *s->at == '\n';
        buf_put_u8(cell, (uint8_t)*s->at);
    }
    s->at++;
    if (!strchr(",\r\n", *s->at) && *s->at)
        return err_set(err, ERR_FORMAT, "line %zu: text after a closing quote", s->line);
    return 0;
}

static int read_cell(struct scan *s, json_t *row, struct err *err)
{
    AUTO(buf_done) struct buf cell = BUF_INIT;
    size_t plain = strcspn(s->at, ",\r\n");
    json_t *text;

    if (*s->at == '"') {
        int r = read_quoted(s, &cell, err);

        if (r < 0)
            return r;
    } else {
        buf_put(&cell, s->at, plain);
        s->at += plain;
    }
    text = json_stringn(cell.data ? (const char *)cell.data : "", cell.len);
    if (!text)
        return err_set(err, ERR_FORMAT, "line %zu: a text is not UTF-8", s->line);
    (void)json_array_append_new(row, text);
    return 0;
}

static int read_line(struct scan *s, json_t *row, struct err *err)
{
    int r = read_cell(s, row, err);

    while (r == 0 && *s->at == ',') {
        s->at++;
        r = read_cell(s, row, err);
    }
    if (*s->at == '\r')
        s->at++;
    return r;
}

int csv_read(const char *text, json_t **out, struct err *err)
{
    struct scan s = {strncmp(text, "\xEF\xBB\xBF", 3) == 0 ? text + 3 : text, 1};
    json_auto_t *rows = json_array();

    while (*s.at) {
        size_t columns = json_array_size(json_array_get(rows, 0)), line = s.line;
        json_auto_t *row = json_array();
        int r = read_line(&s, row, err);

        if (r < 0)
            return r;
        if (*s.at == '\n')
            s.at++;
        s.line++;
        if (json_array_size(row) == 1 && json_string_length(json_array_get(row, 0)) == 0)
            continue;
        if (columns && json_array_size(row) != columns)
            return err_set(err, ERR_FORMAT, "line %zu: %zu cells, but the first line has %zu", line,
                           json_array_size(row), columns);
        (void)json_array_append(rows, row);
    }
    *out = TAKE(rows);
    return 0;
}
