/* sniff.c: magic numbers of the formats people mistake for safetensors. */
#include "models/sniff.h"

#include <string.h>

struct magic {
    const char *bytes;
    size_t len;
    const char *what;
};

static const struct magic magics[] = {
    {"version https://git-lfs", 23, "a Git LFS pointer, not the model itself; fetch it first"},
    {"GGUF", 4, "a GGUF file, which this version does not read"},
    {"PK\3\4", 4,
     "a zip archive, most likely a PyTorch checkpoint, which this version does not read"},
    {"\x89HDF\r\n\x1a\n", 8, "an HDF5 file, which this version does not read"},
    {"\x93NUMPY", 6, "a NumPy file, which this version does not read"},
    {"\x1f\x8b", 2, "a gzip file; unpack it first"},
    {"\x28\xb5\x2f\xfd", 4, "a zstd file; unpack it first"},
    {"\x80\x02\x8a\x0al\xfc\x9c", 7,
     "a legacy PyTorch checkpoint, which this version does not read"},
};

int sniff_safetensors(const uint8_t *head, size_t len, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(magics); i++)
        if (len >= magics[i].len && memcmp(head, magics[i].bytes, magics[i].len) == 0)
            return err_set(err, ERR_UNSUPPORTED, "this is %s", magics[i].what);
    return 0;
}
