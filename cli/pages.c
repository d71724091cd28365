/* pages.c: see pages.h. */
#include "cli/pages.h"

#include <string.h>

#include "cli/field.h"

#define PAGE_SIZE_MAX 5000

/* Append what fits; true when something did not. */
static bool append(json_t *to, const json_t *page, size_t limit)
{
    size_t i;
    json_t *item;

    json_array_foreach(page, i, item)
    {
        if (json_array_size(to) == limit)
            return true;
        (void)json_array_append(to, item);
    }
    return false;
}

json_t *pages_fetch(struct context *cx, const char *path, const char *key, size_t limit, bool *more,
                    int *status)
{
    json_auto_t *all = json_array();
    AUTO(freep) char *token = xstrdup("");
    size_t size = limit < PAGE_SIZE_MAX ? limit : PAGE_SIZE_MAX;
    char sep = strchr(path, '?') ? '&' : '?';
    bool cut;

    do {
        json_auto_t *page = NULL;
        AUTO(freep)
        char *url = xasprintf("%s%cpage_size=%zu%s%s", path, sep, size,
                              *token ? "&page_token=" : "", token);
        size_t before = json_array_size(all);

        if (!command_call(cx, "GET", url, &page, status))
            return NULL;
        cut = append(all, json_object_get(page, key), limit);
        freep(&token);
        token = http_escape(field_text(page, "next_page_token"));
        if (json_array_size(all) == before) /* never loop over empty pages */
            break;
    } while (*token && json_array_size(all) < limit);
    if (more)
        *more = cut || *token != 0;
    return TAKE(all);
}

int pages_csv(struct context *cx, const char *path, FILE *out)
{
    AUTO(freep)
    char *url = xasprintf("%s%cpage_size=%d", path, strchr(path, '?') ? '&' : '?', PAGE_SIZE_MAX);
    bool first = true;
    int status = EXIT_DONE;

    while (url) {
        AUTO(http_reply_done) struct http_reply page = HTTP_REPLY_INIT;
        const struct http_request rq = {.method = "GET", .path = url, .accept = "text/csv"};
        const char *text, *header;

        if (!command_request(cx, &rq, &page, &status))
            return status;
        text = (const char *)page.raw.data;
        header = page.raw.len > 0 ? memchr(text, '\n', page.raw.len) : NULL;
        size_t skip = first || !header ? 0 : (size_t)(header + 1 - text);

        if (page.raw.len > 0)
            (void)fwrite(text + skip, 1, page.raw.len - skip, out);
        first = false;
        freep(&url);
        url = TAKE(page.next);
    }
    return EXIT_DONE;
}

void pages_print_ids(const json_t *items)
{
    const json_t *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        printf("%s\n", field_text(item, "id"));
    }
}
