/* layers.h: from tensors to rows: which matrices a model is made of, what each one is.
 *
 * Every tensor gives at least one row; a stack of experts gives one row per expert. Names decide
 * block and role, names and shapes the layer type, config.json only helps where both are unclear.
 */
#ifndef SPECTRALD_LAYERS_H
#define SPECTRALD_LAYERS_H

#include "models/hf.h"
#include "models/tensor_table.h"

enum layer_type {
    TYPE_DENSE = 0, /* 2-D weight, experts too */
    TYPE_EMBEDDING,
    TYPE_CONV1D, /* GPT-2 style Conv1D: 2-D, stored (in, out) */
    TYPE_CONV2D,
    TYPE_NORM,
    TYPE_BIAS,
    TYPE_OTHER,
    TYPE_COUNT
};
const char *layer_type_name(enum layer_type t); /* "dense", "embedding", "conv1d", "conv2d", … */
int layer_type_from_name(const char *name);     /* or -1 */

enum layer_role {
    ROLE_OTHER = 0,
    ROLE_Q,
    ROLE_K,
    ROLE_V,
    ROLE_O,
    ROLE_QKV,
    ROLE_GATE,
    ROLE_UP,
    ROLE_GATE_UP,
    ROLE_DOWN,
    ROLE_EMBEDDING,
    ROLE_HEAD,
    ROLE_ROUTER,
    ROLE_EXPERT,
    ROLE_CONV,
    ROLE_NORM,
    ROLE_BIAS,
    ROLE_COUNT
};
const char *layer_role_name(enum layer_role r); /* "q", "gate_up", … */
int layer_role_from_name(const char *name);     /* or -1 */

/* Why a row is not analysed. Append-only. */
enum skip_reason {
    SKIP_NONE = 0,
    SKIP_NORM, /* normalisation weights have no spectrum */
    SKIP_BIAS,
    SKIP_ONE_DIMENSION, /* other 1-D or 0-D tensor */
    SKIP_RANK,          /* 3-D, 5-D … that is no known stack of matrices */
    SKIP_EMPTY,         /* a dimension is zero */
    SKIP_DTYPE,         /* not decodable, or integer codes */
    SKIP_MASK,          /* attention mask buffer, position ids, rotary tables … */
    SKIP_MIN_EVALS,
    SKIP_MAX_EVALS,
    SKIP_MAX_N,
    SKIP_FILTERED, /* by the request's layers / types / regex */
    SKIP_LIMIT,    /* n_short > SPECTRUM_N_MAX */
    SKIP_COMPAT,   /* upstream would not see this tensor */
    SKIP_NO_BASE,  /* the base model has no tensor of this name */
    SKIP_BASE_SHAPE,
    SKIP_BASE_DTYPE,
    SKIP_ADAPTER_PART, /* in its adapter's row */
    SKIP_ADAPTER_FORM, /* no pair of matrices */
    SKIP_ADAPTER_RANK, /* not what adapter_config.json says */
    SKIP_ADAPTER_DORA, /* merging takes norms of the whole */
    SKIP_COUNT
};
const char *skip_reason_name(enum skip_reason r); /* "min_evals", … ; "" for SKIP_NONE */
/* One sentence for people, with the limit where there is one. Borrowed, static. */
const char *skip_reason_text(enum skip_reason r);

/* Notes, a bit set. */
enum layer_note {
    NOTE_FUSED_QKV = 1 << 0, /* analysed whole: q, k and v share one matrix */
    NOTE_FUSED_GATE_UP = 1 << 1,
    NOTE_TRANSPOSED = 1 << 2,    /* stored (in, out) */
    NOTE_INTEGER = 1 << 3,       /* integer codes taken as numbers, without scales */
    NOTE_TIED = 1 << 4,          /* reserved: same bytes as another row */
    NOTE_DORA = 1 << 5,          /* an adapter's update without DoRA's magnitudes */
    NOTE_SCALE_UNKNOWN = 1 << 6, /* an adapter without adapter_config.json: 1 is taken */
};
#define NOTE_BITS 7
const char *layer_note_name(unsigned bit); /* of one bit: "fused_qkv", … */

/* What a row's matrix is, when it is not a tensor as it lies in its file. */
enum layer_made {
    MADE_TENSOR = 0, /* the tensor itself */
    MADE_DELTA,      /* part[0] - part[1], of one shape */
    MADE_LORA,       /* scale part[0] part[1], of `inner` columns and rows */
    MADE_MERGED,     /* part[2] + scale part[0] part[1] */
    MADE_PRODUCT,    /* part[0] part[1], of `inner` columns and rows, over both norms */
    MADE_COUNT
};
const char *layer_made_name(enum layer_made m); /* "tensor", "delta", "lora", "merged", "product" */

/* A tensor that a row is made of. Elements lie as described for struct layer. */
struct layer_part {
    uint32_t file, index;
    int64_t expert;
    enum dtype dtype;
    uint64_t rows, cols, n_slices;
    uint64_t row_stride, col_stride, slice_stride;
    uint64_t offset, nbytes;
};
#define LAYER_PARTS_MAX 3

struct layer {
    const char *longname; /* tensor name without ".weight"; "name[3]" for expert 3 of a stack */
    const char *name;     /* last component of longname that says something ("q_proj") */
    const char *block;    /* "model.layers.3", or "" outside any block */
    const char *tensor;   /* full tensor name */
    uint32_t file;        /* which table */
    uint32_t index;       /* which tensor in it */
    int64_t expert;       /* index in a stack, or -1 */
    enum layer_type type;
    enum layer_role role;
    enum skip_reason skip;
    unsigned notes;
    enum dtype dtype;
    uint32_t rank;
    uint64_t dims[TENSOR_RANK_MAX]; /* of the tensor; for an expert, of its matrix */
    uint64_t rows, cols;            /* stored matrix (of one slice); 0 when there is none */
    uint64_t n_slices;              /* rf: kernel positions, 1 for dense */
    /* Element (slice s, row r, column c) is at offset + (s * slice_stride + r * row_stride +
     * c * col_stride) * bits / 8. */
    uint64_t row_stride, col_stride, slice_stride;
    uint64_t offset, nbytes; /* bytes of this layer in its file */
    enum layer_made made;
    const struct layer_part *part; /* layer_n_parts(made) of them; the list's */
    uint64_t inner;                /* what both factors share; of an adapter: its rank */
    double scale;                  /* on singular values of the product of both */
    bool sparse;                   /* MADE_PRODUCT: with fair zeros and ones between both */
    bool roots;                    /* MADE_PRODUCT: singular values for eigenvalues, as upstream */
};

/* How many parts a row has; MADE_TENSOR has none, its own fields tell where it lies. */
size_t layer_n_parts(enum layer_made m);

/* Eigenvalues of one slice: as many as the short side has, or the rank of what has less. */
uint64_t layer_n_values(const struct layer *l);

/* Its matrix is not in memory or in a file, nor read line by line: only its spectrum is had. */
bool layer_is_product(const struct layer *l);

/* The tensor of a row, as a part. */
struct layer_part layer_own_part(const struct layer *l);

struct layer_list {
    struct layer *l; /* natural order of names ("layers.2" before "layers.10") */
    size_t count;
    /* private */
    char **strings;
    size_t n_strings, cap_strings;
};
#define LAYER_LIST_INIT                                                                            \
    {                                                                                              \
        NULL, 0, NULL, 0, 0                                                                        \
    }
#define LAYERS_MAX 4000000

void layer_list_done(struct layer_list *ll);

/* Row i becomes one that is made of these parts, which are copied. */
void layer_list_make(struct layer_list *ll, size_t i, enum layer_made made,
                     const struct layer_part *part);

/* Keep a string as long as the list, which takes it. */
const char *layer_list_keep(struct layer_list *ll, char *s);

/* Another longname for row i: block, role and name follow from it. The list is in order again
 * after layer_list_sort(). */
void layer_list_rename(struct layer_list *ll, size_t i, const char *longname, const char *module);
void layer_list_sort(struct layer_list *ll);

/* Rows at the end, which the caller fills in: pointer to the first of `n` zeroed ones. */
struct layer *layer_list_add(struct layer_list *ll, size_t n);

/* Long and short side of the matrix (of one slice): the columns N and M. With `compat` as
 * WeightWatcher 0.7.5.5 has them, which swaps the two once per kernel position of a convolution
 * with fewer outputs than inputs, so that an even number of positions leaves N < M. */
void layer_sides(const struct layer *l, bool compat, uint64_t *n, uint64_t *m);

/* Natural order, "layers.2" before "layers.10": runs of digits compare by value. A total order. */
int layer_name_order(const char *a, const char *b);

/* Rows of a model made of `n_tables` files. `config` may be NULL. A tensor name in two files is
 * ERR_FORMAT. Strings are the list's own; the tables may be freed afterwards. */
int layers_build(const struct tensor_table *const *tables, size_t n_tables,
                 const struct hf_config *config, struct layer_list *out, struct err *err);

/* What the name of a tensor alone says, where there is no file to look at. */
struct layer_name {
    size_t n_long;        /* length of the longname, its beginning */
    size_t n_block;       /* length of the block, the beginning of that; 0 outside any block */
    enum layer_type type; /* TYPE_NORM, TYPE_BIAS, TYPE_EMBEDDING, TYPE_OTHER (masks), else
                             TYPE_DENSE */
    enum layer_role role;
};
void layer_name_read(const char *tensor, struct layer_name *out);

/* What an analyze request selects. All kinds of filter must agree (AND); an empty one agrees. */
struct layer_filter {
    int64_t *ids; /* keep these layer ids (row numbers) */
    size_t n_ids;
    char **names; /* keep these longnames (or full tensor names), exact */
    size_t n_names;
    unsigned types;     /* bit set of 1 << enum layer_type; 0 = all */
    char *include;      /* POSIX extended regex searched in longname; NULL = all */
    char *exclude;      /* the same, dropping */
    uint64_t min_evals; /* n_slices * min(rows, cols) below: SKIP_MIN_EVALS; 0 = off */
    uint64_t max_evals; /* above: SKIP_MAX_EVALS; 0 = off */
    uint64_t max_n;     /* long side above: SKIP_MAX_N; 0 = off */
    uint64_t n_limit;   /* short side above: SKIP_LIMIT */
    bool integers;      /* analyse integer tensors as numbers instead of skipping them */
    bool compat;        /* also skip what upstream cannot see: stacks, names without .weight */
};
#define LAYER_REGEX_MAX 1024
void layer_filter_done(struct layer_filter *f);

/* A POSIX extended regular expression of a client, at most LAYER_REGEX_MAX bytes, without what
 * takes exponential time. ERR_INVALID at `pointer`. Compiling and matching may take milliseconds.
 */
struct layer_regex;
int layer_regex_new(const char *text, const char *pointer, struct layer_regex **out,
                    struct err *err);
bool layer_regex_matches(const struct layer_regex *re, const char *longname);
void layer_regex_free(struct layer_regex *re); /* NULL is fine */
DEFINE_AUTO(struct layer_regex, layer_regex_free)

/* Whether the regular expressions compile: ERR_INVALID with the pointer of the field. May take
 * milliseconds. */
int layer_filter_check(const struct layer_filter *f, struct err *err);

/* Set `skip` on every row that the filter drops. ERR_INVALID with the pointer of the field when
 * a regex does not compile, or an id or a name selects nothing at all. */
int layers_filter(struct layer_list *ll, const struct layer_filter *f, struct err *err);

#endif
