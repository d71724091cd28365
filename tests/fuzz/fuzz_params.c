/* fuzz_params.c: parameters of an analyze job; what is accepted must survive being stored. */
#include <stdlib.h>
#include <string.h>

#include "daemon/analyze_params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *params = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    struct analyze_params p, again;
    char *text, *text_again;

    if (!json_is_object(params) || analyze_params_parse(params, &p, NULL) < 0) {
        json_decref(params);
        return 0;
    }
    json_decref(params);
    text = analyze_params_text(&p);
    params = json_loads(text, 0, NULL);
    ASSERT(params && analyze_params_parse(params, &again, NULL) == 0);
    text_again = analyze_params_text(&again);
    ASSERT(strcmp(text, text_again) == 0);
    json_decref(params);
    analyze_params_done(&p);
    analyze_params_done(&again);
    free(text);
    free(text_again);
    return 0;
}
