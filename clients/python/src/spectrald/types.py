"""What the server takes and answers, as types for checkers and editors.

Made by make_types.py from openapi.yaml; do not edit. At run time these are plain dicts, exactly the
JSON of the server: a member that this version does not know stays in place. Enumerations of
replies may gain values and are therefore plain str.
"""

from __future__ import annotations

from typing import Any, Dict, List, Literal, Optional, TypedDict, Union


JobId = str


# A digest of all tensors, so that equal models have equal ids.
ModelId = str


AnalysisId = str


UploadId = str


ArtifactId = str


# A digest of the request, its defaults and the rows it is about.
PlanId = str


# A digest of all that is said, so that equal comparisons have equal ids.
DistancesId = str


JobState = str


# The client's own keys and values. Keys are of `A-Z a-z 0-9 . _ - /`.
Labels = Dict[str, str]


class LabelChange(TypedDict):
    """A merge patch (RFC 7396) of the labels; with it there may be 32 at most."""
    labels: Dict[str, Optional[str]]


class SourcePath(TypedDict):
    # A safetensors file, its index, or a directory that holds one: absolute inside a model root,
    # or relative to one.
    path: str


class SourceUpload(TypedDict):
    upload: UploadId


# What to read.
Source = Union[SourcePath, SourceUpload]


Time = str


class UploadLinks(TypedDict):
    self: str


class Upload(TypedDict):
    id: UploadId
    name: str
    kind: str
    # Of the body.
    bytes: int
    files: int
    # Of the body.
    sha256: str
    created_at: Time
    # Moves on whenever a job uses it.
    expires_at: Time
    links: UploadLinks


# Opaque; empty on the last page.
NextPageToken = str


class UploadList(TypedDict):
    uploads: List[Upload]
    next_page_token: NextPageToken


# More members may say how the file was made.
ArtifactFile = Dict[str, Any]


class ArtifactSummaryLinks(TypedDict):
    self: str
    job: str
    tar: str


class ArtifactSummary(TypedDict):
    id: ArtifactId
    job: JobId
    # For people.
    name: str
    # The directory under an output root; null when the server keeps the files.
    path: Optional[str]
    # Of all files.
    bytes: int
    n_files: int
    created_at: Time
    # When the server removes what it keeps (`--artifact-ttl`), if `--artifact-quota` does not
    # make it do so before; null when it is not removed.
    expires_at: Optional[str]
    links: ArtifactSummaryLinks


# Members that are not named here are the report of the job that wrote it.
Artifact = Any


class ArtifactList(TypedDict):
    artifacts: List[ArtifactSummary]
    next_page_token: NextPageToken


class FitParams(TypedDict, total=False):
    """How the tail is fitted, where not by the default: a power law whose start has the least
    Kolmogorov-Smirnov distance. Everything that takes alpha takes this one. Another fit of
    a cached spectrum solves nothing. Not with `bootstrap`.
    """
    # `tpl`: truncated, x^-alpha e^(-Lambda x); `e_tpl`: the same from near the peak of the
    # density; `hill`: Hill's estimator for a tail that starts at n / `pos`.
    law: Literal["pl", "tpl", "e_tpl", "hill"]
    # With `pl`, where a few large eigenvalues make alpha too large: leave some out, or start the
    # tail near the peak of the density.
    fix_fingers: Literal["clip_xmax", "xmin_peak"]
    # With `clip_xmax`, how many may be left out.
    max_fingers: int
    # With `clip_xmax`, by how much alpha must fall.
    finger_thresh: float
    # With `pl`, where the tail starts. Otherwise that is searched.
    xmin: float
    # With `pl`, where the law ends; eigenvalues above are left out.
    xmax: float
    # With `pl`, so many of the largest eigenvalues are left out.
    drop_top: int
    # With `hill`, the tail starts at n / pos of the eigenvalues above zero.
    pos: float


class FarmsParams(TypedDict, total=False):
    """Also fit the pooled eigenvalues of equally shaped windows of each matrix (FARMS), so
    that layers of different shapes compare: columns `farms_*`. A convolution's windows
    follow from its shape and q. The eigenvalues are kept: another fit of the same windows
    solves nothing.
    """
    # Rows of a window; fewer where the matrix is smaller on either side.
    rows: int
    # Columns of a window over its rows. A layer where such a window does not fit gets
    # `farms_reason` `window_does_not_fit`.
    q: float
    # Windows along each side; at most 1000000 eigenvalues in all.
    windows: int
    # Where the tail starts; xmin_peak and ks need precision double. `top` is the largest tenth
    # (AlphaQ); it has no farms_D.
    fit: Literal["xmin_mid", "xmin_peak", "ks", "top"]
    # `fast` solves a sample of the windows where all would take more than about a second, and
    # states the standard error. xmin_mid only.
    mode: Literal["exact", "fast"]


class AnalyzeParams(TypedDict, total=False):
    """Parameters of an analyze job. All filters must agree on a layer for it to be analysed;
    the others keep a row with status `skipped`.
    """
    # Only these layers, by `layer_id` or `longname` (or full tensor name).
    layers: Optional[List[Union[int, str]]]
    # Only layers of these types.
    types: Optional[List[Literal["dense", "embedding", "conv1d", "conv2d", "norm", "bias", "other"]]]
    # Only layers in whose longname this POSIX extended regular expression is found.
    include: Optional[str]
    # Not the layers in whose longname this one is found.
    exclude: Optional[str]
    # Skip layers with fewer eigenvalues; null or 0 lifts the limit.
    min_evals: Optional[int]
    # Skip layers with more eigenvalues (15000 with compat).
    max_evals: Optional[int]
    # Skip layers whose long side is longer (50000 with compat).
    max_N: Optional[int]
    # A second model, whose weights are subtracted (or adapted, see `adapter`): each row is the
    # spectrum of the difference from the base's tensor of the same name. What has none there, or
    # one of another shape, is skipped with a reason (`no_base`, `base_shape`, `base_dtype`).
    base: Optional[Source]
    # What a low-rank adapter's two matrices (`lora_A`, `lora_B`) are taken for: `delta`, what
    # they add to the weights (row `….lora_BA`); `merged`, the weights of `base` with that added;
    # `factors`, a matrix each. For models without adapters it says nothing.
    adapter: Literal["delta", "merged", "factors"]
    # More rows, at the end: products of matrices that follow one another and share a dimension,
    # over the norms of both. `plain`, which true means; `sparse`, which it means with compat, has
    # fair zeros and ones between the two. Not with a base.
    products: Union[bool, Literal["plain", "sparse"]]
    # Analyse integer tensors as numbers instead of skipping them.
    integers: bool
    # Arithmetic of the eigen-solver; single is faster and less exact.
    precision: Literal["double", "single"]
    # Give that version's values where it is wrong, too.
    compat: Optional[Literal["weightwatcher-0.7.5.5"]]
    fit: Optional[FitParams]
    farms: Optional[FarmsParams]
    # Fit the Marchenko-Pastur law, what eigenvalues of noise follow: columns `W_scale` to
    # `mp_method`. `robust`, which true means, goes by the median and Tracy-Widom's edge;
    # `upstream`, which it means with compat, is WeightWatcher's fit.
    mp_fit: Union[bool, Literal["robust", "upstream"]]
    # The trace-log condition (detX, ERG): columns `detX_num` to `delta_lambda_min`.
    erg: bool
    # Signal-to-noise ratios: columns `spectrum_snr` to `num_signal_mp`.
    snr: bool
    # Spectra of the weights in random order: columns `max_rand_eval` to `max_rand_eval_sd`. Costs
    # as much as the spectrum itself, for each order. true: 5 orders of less than 100 eigenvalues,
    # else one (with compat, another one to compare with). The generator is seeded by the content
    # of the layer: the same weights give the same numbers.
    randomize: Union[bool, int]
    # How localised the eigenvectors are: columns `bulk_mean_vec_entropy` to
    # `tail_var_part_ratio`. Several times the cost of the spectrum; 16 n² bytes of memory for a
    # short side n of at most 16384. Not of convolutions.
    vectors: bool
    # The phase of training, its evidence, and a confidence in alpha: columns `phase` to
    # `phase_noise_share`. With `randomize`, shuffled weights are evidence, too. Measured unless
    # it is switched off, because an exponent alone does not say whether there is anything but
    # noise; it takes less than a thousandth of the time of a spectrum.
    phase: bool
    # Hold the tail against other distributions than the power law: columns `best_fit` to
    # `TPL_Lambda`.
    alternatives: bool
    # Is the power law plausible, and how sure is alpha: columns `pl_p_value` to
    # `bootstrap_replicates`, from so many replicates of either kind (true: 200), each fitted
    # anew. Seeded by the content of the layer.
    bootstrap: Union[bool, int]
    # Correlation traps: columns `trap_count` to `trap_weight`, and `…/layers/{layer}/traps` says
    # which weights carry them. Looks at the first order that `randomize` has, and needs no
    # `randomize`: costs as much as the spectrum, three times that where there are traps. Not of
    # convolutions.
    traps: bool


# `alphapruning`: by a metric, linearly. `uniform`; `uniform_plus`: a first convolution stays
# dense, the last tensor keeps 20 %. `er`, `erk`: Erdős–Rényi densities by shape. `atp`: a ramp
# over the depth. `owl`: blocks with more outliers stay denser; `dlp`: blocks with a smaller score
# do. `global_magnitude`: one threshold on |w| over all weights; `lamp`: one on w² over the sum of
# the squares of the tensor's weights that are not smaller. `alphaq`: bit widths instead of
# sparsities.
PlanMethod = str


Share = float


class PlanJobParamsLimitsTensorsValue(TypedDict, total=False):
    min: Share
    max: Share


class PlanJobParamsLimits(TypedDict, total=False):
    """Of every tensor's sparsity."""
    min: Share
    max: Share
    # Tensors with limits of their own.
    tensors: Dict[str, PlanJobParamsLimitsTensorsValue]


class _PlanStructure(TypedDict):
    kind: Literal["width"]


class PlanStructure(_PlanStructure, total=False):
    """Groups of matrices lose the same channels together: neurons of a feed-forward part (rows
    of up and gate, columns of down), and key-value heads of an attention with the query
    heads that use them (rows of q, k and v, columns of o). Tensors in no group take no
    part: fused ones, experts, convolutions, attention without head_dim.
    """
    # Widths of feed-forward parts are multiples of it, or whole.
    multiple: int
    # Rows of k for each head. Without it attention stays as it is.
    head_dim: int


class BitsRule(TypedDict, total=False):
    """How bits are shared out; every member has a default."""
    # Ascending; by default 2, 3, 4 and 8.
    candidates: List[int]
    # Of the bits, at most; not below the smallest candidate.
    average: float
    # How much the exponent counts; 0 leaves the variance alone.
    gamma: float
    # What the average is taken over; upstream has matrices.
    over: Literal["matrices", "parameters"]


class PlanJobParams(TypedDict, total=False):
    """Parameters of a job of kind plan: a plan request without `metrics`, `source` and
    `labels`. `analysis` only with the methods global_magnitude and lamp: the plan is of
    that analysis, and the source must still have its weights.
    """
    analysis: AnalysisId
    source: Source
    # With a source; of the job, and of its analysis.
    labels: Labels
    # With a source; of the analysis. Its filters say which layers have a row with numbers: what
    # they skip takes no part in the plan.
    analyze: AnalyzeParams
    # Tensors by name, each with its numbers.
    metrics: Dict[str, Dict[str, Any]]
    method: PlanMethod
    # The target, over the tensors that take part.
    sparsity: Share
    # A numeric column of layers, or a member of `metrics`. Default for owl: outlier_ratio, for
    # dlp: score.
    metric: str
    # alphapruning: ratios lie between 1 − epsilon and 1 + epsilon times a common factor
    # (multiplicative), or that far around the target (additive).
    epsilon: Share
    # Whose metric counts: the mean of the block's tensors, each tensor's own, or the block's and
    # then, by inner_epsilon, each tensor's within it.
    mapping: str
    # Of the mapping mixed; a third of epsilon by default.
    inner_epsilon: Share
    mode: str
    # prune takes more from a larger metric. low_rank is for factorisations, and takes more from a
    # smaller one (a heavy tail); sparsity is the share of weights that the factors save, and
    # tensors have a rank.
    direction: str
    # linear makes the metric alpha_peak mean alpha_peak_linear.
    peak_compat: str
    # atp: the step from block to block. By default half of what keeps all ratios between 0 and 1;
    # upstream searches it by perplexity.
    beta: Share
    # owl (0.16) and dlp (0.3); the range of ratios, twice the Λ or α of the papers.
    width: Share
    # owl and dlp: each tensor's outlier ratio (percent) or score, measured elsewhere; or, with a
    # `source`, a safetensors file of calibration statistics (`sumsq` of every input), from which
    # they are measured.
    stats: Union[Dict[str, float], Source]
    # owl with a file of statistics; scores above this many means of their block are outliers.
    outlier_factor: float
    # Of every tensor's sparsity.
    limits: PlanJobParamsLimits
    # What takes no part, by a POSIX extended regular expression or by names.
    exclude: Union[str, List[str]]
    # N:M: every tensor loses a whole number of each m weights, which is its own (mixed N:m).
    m: int
    # Remove whole channels and heads; excludes m and the direction low_rank.
    structure: PlanStructure
    # alphaq, which takes no sparsity, limits or m.
    bits: BitsRule


class PruneParamsNOfM(TypedDict):
    """How many of every so many weights of a row stay, instead of a sparsity."""
    keep: int
    of: int


class PruneParamsOutput(TypedDict, total=False):
    """What is written, and where to."""
    # A directory that does not exist, in one that does, below the output root. Without it, the
    # server keeps the output and it can be downloaded.
    path: str
    # `dense`: the model's files, with zeros. `masks`: for each pruned tensor `P.weight` a tensor
    # `P.bitmask`, one bit for each weight, 1 where it is not zero. `tensors`: the pruned tensors
    # alone, to be put into a running model. `sparse-bitmask`: the model as compressed-tensors
    # 0.9.0 to 0.14.0.1 reads it; a legacy format that newer releases and vLLM refuse. Not for a
    # model with a `quantization_config`.
    format: Literal["dense", "masks", "tensors", "sparse-bitmask"]


class PruneParamsTrim(TypedDict, total=False):
    metric: Literal["cosim_flat", "cosim_dim", "mse", "snr", "psnr_flat", "psnr_dim"]
    row_metric: Literal["cosim", "mse", "psnr"]
    negative_rates: bool


class _PruneParams(TypedDict):
    # `magnitude` needs the weights alone. `wanda`: weights times norms of inputs (`sumsq`);
    # `wanda_variant`: every row loses the same share of its score. `ria`: relative importance and
    # activations (`sumsq`). `sparsegpt`: with correction of the weights that stay (`gram`).
    # `trim`: rows get sparsities of their own by what their outputs lose (`sumsq`, and `xlast` or
    # `gram`). `external`: scores that are sent (`score`), larger = keep. `expert_drop`: the
    # experts of a mixture whose outputs weigh least go (`expert_saliency_sum`, `expert_count` of
    # every layer). `width`: neurons of the feed-forward parts go, as many in every block; with
    # `plan`, one of widths (`structure`) that are all the same. `dsnot`: the mask of `rank_by`,
    # in which weights of a row change places until its mean output is nearly what it was
    # (`sumsq`, `sum`, `count`). `admm` and `alps`: as `sparsegpt`, but weights and mask of the
    # whole matrix are found together, step by step (`gram`); `alps` takes more steps and loses
    # least.
    method: Literal["magnitude", "wanda", "wanda_variant", "ria", "sparsegpt", "trim", "external", "expert_drop", "width", "dsnot", "admm", "alps"]


class PruneParams(_PruneParams, total=False):
    """Parameters of a job of kind prune. Only weights of the tensors that the plan names are
    changed; files, names, shapes and dtypes stay, unless `output.format` says otherwise.
    But `expert_drop` and `width` leave out whole experts or neurons: a smaller model, whose
    config.json says so.
    """
    # The id of a plan, or a request for one without `analysis`, `metrics` and `source`, which is
    # made first, with the spectra that it needs.
    plan: Union[PlanId, PlanJobParams]
    # The same for every matrix, instead of a plan. Of `expert_drop` and `width`: the share of the
    # experts or neurons that goes, the same number in every layer.
    sparsity: float
    # Of `expert_drop` and `width`, instead of a sparsity: how many experts or neurons of each
    # layer stay. Experts: at most 65536.
    keep: int
    # Of `width` with a sparsity: the width is rounded to a multiple of it. Default: 64, or the
    # largest lower power of two that divides the width as it is, at least eight times.
    multiple_of: int
    # Among which weights the lowest scores are taken. Default as the methods' authors have it:
    # `tensor` for magnitude, ria, admm and alps, `row` for wanda and external. Not with the other
    # methods.
    selection: Literal["row", "tensor"]
    # Of the count of each row: rounded down, as upstream does it, or so that the tensor's is
    # exact. Not with `sparsegpt` and `wanda_variant`, which are exact.
    rounding: Literal["floor", "exact"]
    # How many of every so many weights of a row stay, instead of a sparsity.
    n_of_m: Optional[PruneParamsNOfM]
    # Calibration statistics: a safetensors file below a model root, or an upload. Every method
    # but `magnitude` and `width` needs them.
    stats: Optional[Source]
    # Prune only what the plan names in these blocks, as `block` of layers has them
    # (`model.layers.3`): one turn of sequential pruning, in which a client has a block pruned,
    # runs it and collects the next one's statistics. The plan is still that of the whole model,
    # and `stats` need hold no other blocks. Default: all that the plan names.
    blocks: Optional[List[str]]
    # What is written, and where to.
    output: Optional[PruneParamsOutput]
    # Of the norms of inputs, in `ria`.
    ria_power: float
    # Of `sparsegpt` and `alps`: this times the mean of the diagonal is added to it; with
    # `sparsegpt` more (0.03, 0.1, 0.3) where the matrix is not positive definite.
    damping: float
    # Columns among which `sparsegpt` chooses at a time.
    block_size: int
    # The order in which `trim` removes weights of a row: `wanda` (the default) or `magnitude`;
    # the order that `dsnot` begins with. By what `width` chooses neurons: `wanda`, the sum of the
    # squares of what they add to outputs (`sumsq` of the input of down; the default with
    # `stats`); `wifv`, its variance (`sumsq`, `sum`, `count`); `magnitude`, norms of weights (the
    # default without).
    rank_by: Literal["wanda", "magnitude", "wifv"]
    trim: PruneParamsTrim


class DecodeParamsOutput(TypedDict):
    """Where to; without params, the server keeps the copy."""
    path: str


class DecodeParams(TypedDict):
    """Parameters of a job of kind decode. Matrices come back as `P.weight`, in the dtype of
    their values, bit for bit but for −0.0, which the format has not; everything else is
    copied, and config.json loses its `quantization_config`.
    """
    # Where to; without params, the server keeps the copy.
    output: DecodeParamsOutput


class SmoothParamsOutput(TypedDict):
    """Where to; without it, the server keeps the copy."""
    path: str


class _SmoothParams(TypedDict):
    # What k, the number of singular values that stay, comes from. `svd`: `percent` or `k`.
    # `detX`: the tail whose determinant is one. `alpha_min`: the tail of the power law. `rmt`:
    # what lies above the Marchenko–Pastur edge. `sharpness` removes instead: as many of the
    # largest as the same weights in random order have above that edge.
    method: Literal["svd", "detX", "alpha_min", "rmt", "sharpness"]


class SmoothParams(_SmoothParams, total=False):
    """Parameters of a job of kind smooth. All filters must agree on a layer for it to be
    smoothed; everything else is copied, embeddings too unless `layers` or `types` name
    them. Names, shapes, dtypes and files stay. docs/smoothing.md says how k is chosen, and
    what the report means.
    """
    # Of `svd`: this share of all singular values stays, rounded down; below 0, that share is
    # removed, the largest first. Not 0. Default 0.8, unless `k` is given.
    percent: float
    # Of `svd`, instead of `percent`: so many stay; below 0, so many are removed. Not 0. Of a
    # convolution: of all slices together.
    k: int
    # Only these layers, by `layer_id` or `longname` (or full tensor name).
    layers: Optional[List[Union[int, str]]]
    # Only layers of these types.
    types: Optional[List[Literal["dense", "embedding", "conv1d", "conv2d", "norm", "bias", "other"]]]
    # Only layers in whose longname this POSIX extended regular expression is found.
    include: Optional[str]
    # Not the layers in whose longname this one is found.
    exclude: Optional[str]
    # The k of WeightWatcher where the default differs, and its limits of size.
    compat: Optional[Literal["weightwatcher-0.7.5.5"]]
    # Where to; without it, the server keeps the copy.
    output: Optional[SmoothParamsOutput]


class _DistancesParams(TypedDict):
    # The other model, from which the distances are.
    base: Source


class DistancesParams(_DistancesParams, total=False):
    """Parameters of a job of kind distances. Tensors of the two models belong together where
    their names are equal. All filters must agree on a layer for it to be measured.
    docs/distances.md has the formulas.
    """
    # Also the similarity CKA, which costs products of matrices; without it, the weights are read
    # once.
    cka: bool
    # Only these layers, by `layer_id` or `longname` (or full tensor name).
    layers: Optional[List[Union[int, str]]]
    # Only layers of these types.
    types: Optional[List[Literal["dense", "embedding", "conv1d", "conv2d", "norm", "bias", "other"]]]
    # Only layers in whose longname this POSIX extended regular expression is found.
    include: Optional[str]
    # Not the layers in whose longname this one is found.
    exclude: Optional[str]


class _JobRequest(TypedDict):
    # `analyze`: spectra and their metrics. `plan`: as `POST /v1/plans` with a source; the metric
    # decides how much of an analysis it needs, and `params` are required. `prune`: a pruned copy
    # of the model; `params` are required. `decode`: a dense copy of a model that is stored as
    # sparse-bitmask, ours or that of compressed-tensors 0.9.0 to 0.14.0.1. `smooth`: a copy of
    # the model whose matrices have lower rank, or have lost their largest singular values;
    # `params` are required. `distances`: how far its weights are from those of another model;
    # `params` are required.
    kind: Literal["analyze", "plan", "prune", "decode", "smooth", "distances"]
    source: Source


class JobRequest(_JobRequest, total=False):
    # Of the kind of job.
    params: Optional[Union[AnalyzeParams, PlanJobParams, PruneParams, DecodeParams, SmoothParams, DistancesParams]]
    labels: Optional[Labels]


class Progress(TypedDict):
    layers_done: int
    # 0 until the model's header has been read.
    layers_total: int
    # Of the estimated floating-point operations.
    fraction: float
    # The layer or stage in work, or empty.
    message: str
    # Estimated seconds left; null when unknown.
    eta_s: Optional[float]


class JobCache(TypedDict):
    # Layers whose spectrum was known; of a job of kind distances, tensors whose distance was.
    hits: int
    # Eigen-solves done for this job, and nothing else; all windows of a layer count as one.
    misses: int


class JobResult(TypedDict, total=False):
    """What came of the job, once it has succeeded."""
    analysis: AnalysisId
    model: ModelId
    # The model that `params.base` names.
    base: ModelId
    # Of a job of kind plan. Alone where the method needs names and shapes only: then nothing was
    # analysed.
    plan: PlanId
    # Of a job of kind prune.
    artifact: ArtifactId
    # Of a job of kind distances.
    distances: DistancesId


class JobErrorErrorsItem(TypedDict):
    pointer: str
    detail: str


class _JobError(TypedDict):
    type: str
    title: str
    code: str
    detail: str


class JobError(_JobError, total=False):
    """Why the job failed, in the terms of a problem document. A layer that fails does not fail
    the job: see the layer's row.
    """
    # The parameter at fault, such as a target that no plan can meet.
    errors: List[JobErrorErrorsItem]


# null when it has not come to that yet.
MaybeTime = Optional[str]


class JobLinks(TypedDict):
    self: str
    cancel: str
    result: Optional[str]


class Job(TypedDict):
    id: JobId
    kind: str
    state: JobState
    # Why the job failed: `deadline_exceeded`, `out_of_memory`, `worker_crashed`, `input_invalid`,
    # `not_converged`, `storage_failed`; null otherwise.
    reason: Optional[str]
    source: Source
    # The parameters with every default filled in.
    params: Dict[str, Any]
    labels: Labels
    progress: Progress
    cache: JobCache
    # What came of the job, once it has succeeded.
    result: Optional[JobResult]
    # Why the job failed, in the terms of a problem document. A layer that fails does not fail the
    # job: see the layer's row.
    error: Optional[JobError]
    created_at: Time
    started_at: MaybeTime
    finished_at: MaybeTime
    # Trace id of the request that made the job: of its `traceparent` (W3C Trace Context), or a
    # new one. The job outlives the request: link its spans, do not nest them.
    trace_id: Optional[str]
    # How often work on the job was begun.
    attempt: int
    # Raised by every change of state or labels.
    version: int
    links: JobLinks


class JobList(TypedDict):
    jobs: List[Job]
    next_page_token: NextPageToken


class ModelLinks(TypedDict):
    self: str
    tensors: str
    analyses: str


class Model(TypedDict):
    id: ModelId
    # Last component of the path it was first seen under.
    name: str
    format: str
    # From the model's config.json.
    model_type: Optional[str]
    tensors: int
    # Numbers in all tensors together.
    parameters: int
    bytes: int
    first_seen_at: Time
    last_seen_at: Time
    links: ModelLinks


class ModelList(TypedDict):
    models: List[Model]
    next_page_token: NextPageToken


class Means(TypedDict, total=False):
    """One value for each of the columns that are averaged."""
    alpha: Optional[float]
    alpha_weighted: Optional[float]
    log_alpha_norm: Optional[float]
    log_norm: Optional[float]
    log_spectral_norm: Optional[float]
    stable_rank: Optional[float]
    # Where `mp_fit` was asked for.
    mp_softrank: Optional[float]


class StandingOutLayersItem(TypedDict):
    layer_id: int
    longname: str
    value: float
    # Distance from the median of its type over 1.4826 times the median distance.
    z: float


class StandingOut(TypedDict):
    """Layers that differ from others of their type, the farthest out first."""
    # How many there are.
    rows: int
    # At most 32 of them, and at most 4096 bytes of names.
    layers: List[StandingOutLayersItem]


class RowRun(TypedDict):
    """The longest run of rows in order of depth; rows without an exponent do not end it."""
    rows: int
    # The longname of the row that begins it; null where there is none.
    first: Optional[str]


class TypeSummaryAlpha(TypedDict):
    """Over the rows with status success; null where there is none."""
    mean: Optional[float]
    median: Optional[float]
    min: Optional[float]
    max: Optional[float]
    # 1.4826 times the median distance from the median.
    spread: Optional[float]


class TypeSummary(TypedDict):
    """The layers of one type and role, skipped ones left out."""
    layer_type: str
    role: str
    rows: int
    rows_success: int
    under_trained: int
    over_trained: int
    # Over the rows with status success; null where there is none.
    alpha: TypeSummaryAlpha
    # Median of log10 lambda_max over the rows that have a spectrum.
    median_log_spectral_norm: Optional[float]


class SummaryAlphaHat(TypedDict):
    """Mean of alpha log10 lambda_max, in both conventions of the literature."""
    rows: int
    # lambda_max of W'W, as WeightWatcher and Nature Communications 12 (2021) 4122 have it: the
    # mean of the column alpha_weighted.
    mean: Optional[float]
    # lambda_max of W'W / N, N the long side, as arXiv 1901.08278 has it: lower by alpha log10 N
    # in each layer.
    mean_over_n: Optional[float]


class SummaryCorrelationFlow(TypedDict):
    """alpha against depth, in order of the names of layers. Numbers are null with fewer than
    three rows. Slopes are per row.
    """
    # The layers of blocks; in a model with fewer than three of these, all but embedding and head.
    of: str
    # Those that have an exponent.
    rows: int
    # Of the least-squares line.
    slope: Optional[float]
    # Median slope of pairs of rows.
    theil_sen: Optional[float]
    # Kendall's tau-b with depth.
    tau: Optional[float]
    # Median of the first third of the rows.
    first_third: Optional[float]
    # Median of the last third.
    last_third: Optional[float]
    # Median difference of neighbours.
    roughness: Optional[float]
    # Above 6.
    longest_above: Any
    # Below 2.
    longest_below: Any


class Summary(TypedDict, total=False):
    """Plain means over the averaged rows, without weights, counts of rows, and what stands
    out. `alpha_hat` and what is listed after it are over the rows with status success, also
    with `compat`; analyses made before the server knew them lack them.
    """
    alpha: Optional[float]
    alpha_weighted: Optional[float]
    log_alpha_norm: Optional[float]
    log_norm: Optional[float]
    log_spectral_norm: Optional[float]
    stable_rank: Optional[float]
    # Where `mp_fit` was asked for.
    mp_softrank: Optional[float]
    median: Means
    rows_averaged: int
    # Which rows the means are over.
    rows_averaged_rule: str
    rows_total: int
    rows_success: int
    rows_failed: int
    rows_skipped: int
    # Rows of products; they are not counted above, nor in anything else here.
    rows_of_products: int
    skipped_by_reason: Dict[str, int]
    # Rows with alpha above 6.
    under_trained: int
    # Rows with alpha below 2.
    over_trained: int
    # Numbers in all tensors of the model.
    params: int
    # The model that `params.base` names.
    base: ModelId
    # Tensors in the shards that the model's index does not name.
    tensors_not_in_index: int
    # Mean of alpha log10 lambda_max, in both conventions of the literature.
    alpha_hat: SummaryAlphaHat
    # A member for each type and role that has rows; skipped rows do not count.
    types: List[TypeSummary]
    # alpha against depth, in order of the names of layers. Numbers are null with fewer than three
    # rows. Slopes are per row.
    correlation_flow: SummaryCorrelationFlow
    # Layers whose largest eigenvalue is far below that of others of their type and role: z of
    # log10 lambda_max (`value`) below -3.5, and the median at least 0.3 above. They mislead
    # averages of norms. A type has to have five layers.
    scale_collapse: Any
    # Layers whose alpha (`value`) is out of line with others of their type and role: z below -3.5
    # or above 3.5. A type has to have five layers.
    out_of_line: Any
    # How many rows are in each phase; where `phase` was measured.
    phases: Dict[str, int]


class AnalysisLinks(TypedDict):
    self: str
    layers: str
    job: str
    model: str


class Analysis(TypedDict):
    id: AnalysisId
    job: JobId
    model: ModelId
    labels: Labels
    # The job's parameters with every default filled in.
    params: Dict[str, Any]
    summary: Summary
    layers_total: int
    # Raised by every change of the labels.
    version: int
    created_at: Time
    links: AnalysisLinks


class AnalysisList(TypedDict):
    analyses: List[Analysis]
    next_page_token: NextPageToken


class LayerLinks(TypedDict, total=False):
    """On a single row only."""
    self: str
    esd: str
    analysis: str


class Layer(TypedDict, total=False):
    """One row. W is the N x M matrix (N >= M), sigma its singular values, lambda = sigma
    squared the eigenvalues of W'W, scaled by 1/2 for convolutions. log10 is the decimal
    logarithm. Columns keep WeightWatcher's names and meanings. Every member is there unless
    `columns` selects some.
    """
    # Row number, in natural order of names.
    layer_id: int
    # Last telling component of longname.
    name: str
    # The tensor's name without `.weight`; `name[3]` for expert 3 of a stack.
    longname: str
    # The tensor's full name.
    tensor: str
    # The block it belongs to (`model.layers.3`), or empty.
    block: str
    # From the name: q, k, v, o, qkv, gate, up, gate_up, down, embedding, head, router, expert,
    # conv, norm, bias, other.
    role: str
    # dense, embedding, conv1d, conv2d, norm, bias, other.
    layer_type: str
    dtype: str
    shape: List[int]
    status: str
    # Why a row is skipped or failed (`min_evals`, `filtered`, `one_dimension`, `non_finite`,
    # `alpha_infinite`, `too_few_eigenvalues`, `zero_matrix`, `limit`, `worker_crashed`,
    # `deadline_exceeded`, `no_base`, and others).
    reason: Optional[str]
    # The reason in a sentence.
    detail: Optional[str]
    # over-trained (alpha < 2), under-trained (alpha > 6), or empty.
    warning: str
    # There is a spectrum.
    has_esd: bool
    # Weights that are NaN or infinite.
    num_nonfinite: Optional[int]
    # Kolmogorov-Smirnov distance of the power-law fit at the chosen xmin.
    D: Optional[float]
    # Short side of the matrix (of one slice of a convolution; with compat, sometimes the long
    # one).
    M: Optional[int]
    # Long side of the matrix (of one slice of a convolution; with compat, sometimes the short
    # one).
    N: Optional[int]
    # Aspect ratio N / M.
    Q: Optional[float]
    # Fitted exponent of the eigenvalue density, lambda^-alpha above xmin.
    alpha: Optional[float]
    # alpha * log10(lambda_max).
    alpha_weighted: Optional[float]
    # Matrix entropy, -sum p ln p / ln(rank) with p = lambda / sum of lambda.
    entropy: Optional[float]
    # Largest eigenvalue.
    lambda_max: Optional[float]
    # log10 of the sum of lambda^alpha.
    log_alpha_norm: Optional[float]
    # log10 of norm.
    log_norm: Optional[float]
    # log10 of spectral_norm.
    log_spectral_norm: Optional[float]
    # Singular values above sigma_max * N * 2.2e-16.
    matrix_rank: Optional[int]
    # Squared Frobenius norm, the sum of the eigenvalues.
    norm: Optional[float]
    # Number of eigenvalues, of all slices together, zeros included.
    num_evals: Optional[int]
    # Eigenvalues at or above xmin (with compat, -1 where the fit failed).
    num_pl_spikes: Optional[int]
    # Singular values at or below sigma_max * N * 2.2e-16.
    rank_loss: Optional[int]
    # Kernel positions of a convolution, else 1.
    rf: Optional[int]
    # Standard error of alpha, (alpha - 1) / sqrt(size of the tail).
    sigma: Optional[float]
    # Largest eigenvalue, the squared spectral norm.
    spectral_norm: Optional[float]
    # norm / spectral_norm.
    stable_rank: Optional[float]
    # Largest singular value.
    sv_max: Optional[float]
    # Smallest singular value (with compat, the largest of the slices' smallest).
    sv_min: Optional[float]
    # Eigenvalues below 1e-6.
    weak_rank_loss: Optional[int]
    # Largest fitted eigenvalue.
    xmax: Optional[float]
    # Start of the fitted tail.
    xmin: Optional[float]
    # Hill exponent of the upper half of the spectrum (xmin at its median): steady, and
    # independent of the scale of the weights. The usual metric of plans.
    alpha_mid: Optional[float]
    # Exponent of the tail that fits best among those that start near the peak of the density of
    # log eigenvalues, as published with AlphaPruning. Depends on the scale of the weights: the
    # published lower bound compares an eigenvalue with a logarithm.
    alpha_peak: Optional[float]
    # The same with the lower bound as it was meant, independent of the scale.
    alpha_peak_linear: Optional[float]
    # Mean of the weights.
    weight_mean: Optional[float]
    # Variance of the weights (of the population): their mean square less the square of their
    # mean. What bits are shared out by.
    weight_var: Optional[float]
    # Exponential rate, with the `fit` laws tpl and e_tpl.
    Lambda: Optional[float]
    # Eigenvalues that `clip_xmax` left out (with compat one less).
    num_fingers: Optional[int]
    # alpha before `clip_xmax` left any out.
    raw_alpha: Optional[float]
    # Exponent of the pooled eigenvalues of equally shaped windows, with the job's parameter
    # `farms`; of a convolution the mean over its groups.
    farms_alpha: Optional[float]
    # Kolmogorov-Smirnov distance of that fit.
    farms_D: Optional[float]
    # Eigenvalues of all windows that were solved, zeros included.
    farms_num_evals: Optional[int]
    # Standard error of farms_alpha against all windows, where mode fast solved a sample; else 0.
    farms_alpha_se: Optional[float]
    # Why an analysed layer has no farms_alpha although farms was asked for:
    # `window_does_not_fit`, `too_few`, `all_equal`, `no_candidate`, `unresolved_in_single`,
    # `not_a_matrix`, `limit`, and others.
    farms_reason: Optional[str]
    # With `mp_fit`: the factor that gives the weights a mean eigenvalue of 1.
    W_scale: Optional[float]
    # Standard deviation of the noise in units of the root mean square weight: 1 for pure noise.
    sigma_mp: Optional[float]
    # Lower edge of the Marchenko-Pastur law in the limit.
    bulk_min: Optional[float]
    # Its upper edge.
    bulk_max: Optional[float]
    # bulk_max / lambda_max; near 1 for noise, near 0 for a heavy tail.
    mp_softrank: Optional[float]
    # Eigenvalues above mp_edge.
    num_spikes: Optional[int]
    # What the largest eigenvalue of noise stays below, 999 times in 1000 (`upstream`: bulk_max
    # and the root of a Tracy-Widom width).
    mp_edge: Optional[float]
    # Eigenvalues above mp_edge by more than three Tracy-Widom widths.
    num_far_spikes: Optional[int]
    # Kolmogorov-Smirnov distance between the bulk, all that is below the edge, and the law.
    mp_distance: Optional[float]
    # How the law was fitted.
    mp_method: Optional[str]
    # With `erg`: the largest eigenvalues, scaled to mean 1, whose product is still 1 or more
    # (with compat one more).
    detX_num: Optional[int]
    # The smallest of them. Named as upstream names it.
    detX_val: Optional[float]
    # The same, scaled to mean 1; upstream calls this one unrescaled.
    detX_val_unrescaled: Optional[float]
    # detX_num - num_pl_spikes; 0 is ideal.
    ERG_gap: Optional[int]
    # Sum of the logarithms of the eigenvalues in the power-law tail, scaled to mean 1; 0 is
    # ideal.
    ERG_log_det: Optional[float]
    # xmin - detX_val; 0 is ideal, below 0 is over-regularised.
    delta_lambda_min: Optional[float]
    # With `snr`: the signal-to-noise ratio of Spectrum (arXiv 2406.06623).
    spectrum_snr: Optional[float]
    # spectrum_snr / sv_max, by which Spectrum chooses layers of one type.
    spectrum_score: Optional[float]
    # Singular values above it are what Spectrum calls signal.
    spectrum_threshold: Optional[float]
    # spectrum_snr that pure noise of this shape has; null where all of it counts as signal.
    spectrum_snr_noise: Optional[float]
    # Singular values above the edge that noise really has, summed, over the sum of the others;
    # about 0 for noise of any shape.
    snr_mp: Optional[float]
    # That edge.
    snr_mp_threshold: Optional[float]
    # Singular values above it.
    num_signal_mp: Optional[int]
    # With `randomize`: the largest eigenvalue of the weights in random order.
    max_rand_eval: Optional[float]
    # Jensen-Shannon distance between the sorted spectra of the weights and of the shuffled
    # weights; 0 to 0.8326.
    rand_distance: Optional[float]
    # The largest eigenvalue when shuffled, over lambda_max.
    ww_softrank: Optional[float]
    # lambda_max less the largest eigenvalue when shuffled.
    ww_maxdist: Optional[float]
    # As W_scale, of the shuffled weights.
    rand_W_scale: Optional[float]
    # As sigma_mp, of the shuffled weights.
    rand_sigma_mp: Optional[float]
    # As bulk_min, of the shuffled weights.
    rand_bulk_min: Optional[float]
    # As bulk_max, of the shuffled weights.
    rand_bulk_max: Optional[float]
    # As mp_softrank, of the shuffled weights.
    rand_mp_softrank: Optional[float]
    # As num_spikes, of the shuffled weights, in all replicas together.
    rand_num_spikes: Optional[int]
    # The same in one replica (the median): correlation traps, made by single large weights or a
    # mean.
    num_traps: Optional[int]
    # How often the weights were shuffled.
    rand_replicas: Optional[int]
    # Standard deviation of rand_distance over the replicas.
    rand_distance_sd: Optional[float]
    # Standard deviation of the largest eigenvalue over the replicas.
    max_rand_eval_sd: Optional[float]
    # With `vectors`: Mean entropy of the elements of the eigenvectors below xmin.
    bulk_mean_vec_entropy: Optional[float]
    # Its variance.
    bulk_var_vec_entropy: Optional[float]
    # Mean localization ratio |v|_1 / |v|_inf of the eigenvectors below xmin.
    bulk_mean_loc_ratio: Optional[float]
    # Its variance.
    bulk_var_loc_ratio: Optional[float]
    # Mean participation ratio |v|_2 / |v|_4 of the eigenvectors below xmin.
    bulk_mean_part_ratio: Optional[float]
    # Its variance.
    bulk_var_part_ratio: Optional[float]
    # Mean entropy of the elements of the eigenvectors from xmin on.
    tail_mean_vec_entropy: Optional[float]
    # Its variance.
    tail_var_vec_entropy: Optional[float]
    # Mean localization ratio |v|_1 / |v|_inf of the eigenvectors from xmin on.
    tail_mean_loc_ratio: Optional[float]
    # Its variance.
    tail_var_loc_ratio: Optional[float]
    # Mean participation ratio |v|_2 / |v|_4 of the eigenvectors from xmin on.
    tail_mean_part_ratio: Optional[float]
    # Its variance.
    tail_var_part_ratio: Optional[float]
    # With `phase`: the phase of training that the spectrum shows.
    phase: Optional[str]
    # The phase that is nearest.
    phase_next: Optional[str]
    # Which piece of evidence would have to change for that.
    phase_next_by: Optional[str]
    # To which value.
    phase_next_at: Optional[float]
    # By which share of that value: small where the phase is a close call.
    phase_distance: Optional[float]
    # How far to believe that alpha says something about correlations, 0 to 1: the product of the
    # next three.
    confidence: Optional[float]
    # The size of the tail: n / (n + 20).
    confidence_size: Optional[float]
    # 1 for D up to 0.05, 0 from 0.15 on, linear between.
    confidence_fit: Optional[float]
    # Eigenvalues above the edge of noise over those in the tail, at most 1.
    confidence_signal: Optional[float]
    # Evidence: share of eigenvalues that are 0.
    phase_zero_share: Optional[float]
    # Evidence: lambda_max over the edge of noise.
    phase_excess: Optional[float]
    # Evidence: distance between the bulk and its law, in eigenvalues; 2 to 4 for noise.
    phase_misfit: Optional[float]
    # Evidence: the same as a share of the bulk, `mp_distance` of the robust fit; 0.1 or more
    # where there is none.
    phase_bulk_distance: Optional[float]
    # Evidence, with `randomize`: largest eigenvalue of the shuffled weights over lambda_max.
    phase_null_ratio: Optional[float]
    # Evidence: share of eigenvalues above the edge of noise.
    phase_spike_share: Optional[float]
    # Evidence: share of those that are clearly above.
    phase_far_share: Optional[float]
    # Evidence: how far beyond the edge the spectrum reaches for so many eigenvalues.
    phase_reach: Optional[float]
    # Evidence: variance of the noise over the mean eigenvalue.
    phase_noise_share: Optional[float]
    # With `alternatives`: the distribution that describes the tail best.
    best_fit: Optional[str]
    # Vuong's ratio, normalised, of the power law against the truncated power law: below 0 for the
    # latter.
    TPL_R: Optional[float]
    # Its significance: how often it is as large by chance.
    TPL_p: Optional[float]
    # The same against the exponential distribution.
    EXP_R: Optional[float]
    # Its significance.
    EXP_p: Optional[float]
    # The same against the stretched exponential distribution.
    S_EXP_R: Optional[float]
    # Its significance.
    S_EXP_p: Optional[float]
    # The same against the lognormal distribution.
    LOG_N_R: Optional[float]
    # Its significance.
    LOG_N_p: Optional[float]
    # Exponent of the truncated power law x^-alpha e^(-Lambda x) at the same xmin.
    TPL_alpha: Optional[float]
    # Its exponential rate.
    TPL_Lambda: Optional[float]
    # With `bootstrap`: the share of samples from the fitted power law that fit one no better.
    # Below 0.1 the power law is doubtful.
    pl_p_value: Optional[float]
    # Its standard error.
    pl_p_error: Optional[float]
    # Lower end of the 95 % confidence interval of alpha, the choice of xmin included.
    alpha_low: Optional[float]
    # Upper end; null where it is not finite.
    alpha_high: Optional[float]
    # Standard deviation of alpha over the replicates.
    alpha_sd: Optional[float]
    # How many replicates there were of each kind.
    bootstrap_replicates: Optional[int]
    # With `traps`: eigenvalues of the weights, in the first random order, above the edge of their
    # noise; num_traps where that has one order, too.
    trap_count: Optional[int]
    # How far the largest of them is above the bulk of noise, over the edge of the bulk; 0 without
    # traps.
    trap_max_delta: Optional[float]
    # Risk of the riskiest trap: delta (1 - diffuseness), at most 1; 0 without traps. The columns
    # that follow are about this trap.
    trap_max_risk: Optional[float]
    # Risky from a risk of 0.5 on; diffuse from a diffuseness of 0.55 on, or with a q below 0.1,
    # which no single weight makes. With compat as WeightWatcher 0.8 has it: every risky trap is
    # localized_risky, and q does not count.
    trap_label: Optional[str]
    # 0 where few weights carry it, 1 where all do alike.
    trap_diffuseness: Optional[float]
    # Share of its sum of absolute values that the largest 5 % of its elements have; 0.2 for
    # vectors of noise.
    trap_top_5_mass: Optional[float]
    # Row, from 0, of the weight that carries most of it.
    trap_row: Optional[int]
    # Column, from 0, of that weight.
    trap_column: Optional[int]
    # That weight.
    trap_weight: Optional[float]
    # With a measure: what could not be had of the layer, and why: `mp_fit: no_spectrum`.
    # `no_fit`: what follows from the power-law tail is missing.
    not_measured: List[str]
    # With a base model, products, or of an adapter: what the row is the spectrum of. `delta`: the
    # tensor minus the base's tensor of the same name. `lora`: what an adapter adds to the
    # weights, its two matrices multiplied and scaled. `merged`: the base's weights with that
    # added. `product`: two rows multiplied, over the norms of both. null for rows that are
    # skipped.
    operation: Optional[str]
    # The factor on an adapter's product, alpha / r; 1 where it is not known.
    lora_scale: Optional[float]
    # The rank r of an adapter; as many eigenvalues a row `lora` has, at most.
    lora_rank: Optional[int]
    # fused_qkv, fused_gate_up, transposed, integer, rank_unresolved, dora, scale_unknown, and
    # others.
    notes: List[str]
    # Content digest of the tensor, or of all that the row is made of.
    digest: str
    # How the spectrum was computed.
    method: Optional[str]
    # double or single.
    precision: Optional[str]
    # Absolute bound on the error of the unscaled eigenvalues.
    error_bound: Optional[float]
    # Kernel of the linear-algebra library that was used.
    blas_core: Optional[str]
    # On a single row only.
    links: LayerLinks


# A member of a row.
LayerColumn = str


class LayerList(TypedDict):
    layers: List[Layer]
    next_page_token: NextPageToken


# A member of a row.
TensorColumn = str


class Tensor(TypedDict, total=False):
    """Every member is there unless `columns` selects some."""
    name: str
    # As the file names it (F32, BF16).
    dtype: str
    shape: List[int]
    # Number of elements.
    n_params: int
    # Bytes in the file.
    nbytes: int
    # The block it belongs to (`model.layers.3`), or empty.
    block: str
    # As in the layers table.
    role: str
    # As in the layers table.
    layer_type: str
    # Content digest of dtype, shape and bytes.
    digest: str


class TensorList(TypedDict):
    tensors: List[Tensor]
    next_page_token: NextPageToken


class TrapVector(TypedDict):
    """How spread out a unit vector x is along the rows, or along the columns; p = x²."""
    # Sum of p²; 1 for one element, 3 / (n + 2) for a vector of noise.
    ipr: float
    # The same from 0 for a vector of noise to 1 for one element.
    q: float
    # 1 / (n ipr); 1 where all are equal.
    support: float
    # Of p over its largest value ln n.
    entropy: float
    # The largest |x| over the sum of all.
    top: float
    # Gini coefficient of |x|; 0 where all are equal.
    gini: float


class TrapEntriesItem(TypedDict):
    # From 0.
    row: int
    # From 0.
    column: int
    # The weight there.
    weight: float
    # The trap there; more than the weight where other parts of the matrix cancel it.
    component: float
    # Its absolute value over the sum of all.
    share: float


class Trap(TypedDict):
    """One correlation trap."""
    # Of the shuffled weights, in the units of `…/esd`.
    eigenvalue: float
    # How far that is above the bulk of noise, over the edge of the bulk.
    delta: float
    # Its eigenvalue over the sum of all.
    share: float
    # As the column trap_label.
    label: Literal["mixed", "localized_risky", "benign_diffuse", "diffuse_risky"]
    # delta (1 - diffuseness), at most 1.
    risk: float
    # 0 where few weights carry it, 1 where all do alike.
    diffuseness: float
    # Share of the largest 5 % of its elements in their absolute sum.
    top_5_mass: float
    # The same of the largest 10 %.
    top_10_mass: float
    # Mean over left and right.
    ipr: float
    # Geometric mean over left and right.
    q: float
    left: TrapVector
    right: TrapVector
    # The largest elements of the trap, where they are in the matrix.
    entries: List[TrapEntriesItem]


class Traps(TypedDict):
    """The correlation traps of one layer."""
    analysis: AnalysisId
    layer_id: int
    longname: str
    # How many there are.
    trap_count: int
    # The largest, in the order of their eigenvalues.
    traps: List[Trap]


class _Esd(TypedDict):
    analysis: AnalysisId
    layer_id: int
    longname: str
    # Number of eigenvalues, zeros included.
    n: int
    # Kernel positions of a convolution, else 1.
    n_slices: int
    # What every eigenvalue was multiplied by; 0.5 for convolutions.
    factor: float
    # Ascending.
    evals: List[float]


class Esd(_Esd, total=False):
    """The eigenvalues of one layer."""
    # Of the row; a spectrum may be there though the fit failed.
    status: str
    # As in the row.
    alpha: Optional[float]
    # As in the row.
    D: Optional[float]
    # As in the row.
    sigma: Optional[float]
    # As in the row.
    xmin: Optional[float]
    # As in the row.
    xmax: Optional[float]
    # As in the row.
    num_pl_spikes: Optional[int]
    # How the spectrum was computed.
    method: str
    # double or single.
    precision: str
    # Absolute bound on the error of these (multiplied) eigenvalues.
    error_bound: float


class _EsdHistogram(TypedDict):
    analysis: AnalysisId
    layer_id: int
    longname: str
    # Number of eigenvalues, zeros included.
    n: int
    # Kernel positions of a convolution, else 1.
    n_slices: int
    # What every eigenvalue was multiplied by; 0.5 for convolutions.
    factor: float
    scale: str
    bins: int
    # One more than bins, ascending.
    edges: List[float]
    counts: List[int]
    # Share of the counted eigenvalues per unit; times width it sums to 1.
    density: List[float]
    # Positive eigenvalues below the first edge (log scale).
    n_below: int
    # Zeros, left out on the log scale.
    n_nonpositive: int


class EsdHistogram(_EsdHistogram, total=False):
    """Eigenvalues counted in bins."""
    # Of the row; a spectrum may be there though the fit failed.
    status: str
    # As in the row.
    alpha: Optional[float]
    # As in the row.
    D: Optional[float]
    # As in the row.
    sigma: Optional[float]
    # As in the row.
    xmin: Optional[float]
    # As in the row.
    xmax: Optional[float]
    # As in the row.
    num_pl_spikes: Optional[int]
    # How the spectrum was computed.
    method: str
    # double or single.
    precision: str
    # Absolute bound on the error of these (multiplied) eigenvalues.
    error_bound: float


class RunStepsItem(TypedDict):
    # Value of the step label; null when there is none.
    step: Optional[str]
    analysis: AnalysisId
    created_at: Time


class RunLayersItem(TypedDict):
    longname: str
    values: List[Optional[float]]


class Run(TypedDict):
    """What has one value of the label. `values` and `mean` have an element per step."""
    value: str
    steps: List[RunStepsItem]
    layers: List[RunLayersItem]
    # Over the layers that have a value.
    mean: List[Optional[float]]


class Series(TypedDict):
    metric: str
    label: str
    step_label: str
    series: List[Run]
    next_page_token: NextPageToken


class ComparisonAnalysesItem(TypedDict):
    id: AnalysisId
    model: ModelId
    # Number of the label, or the place: 0, 1, 2, …
    at: float
    created_at: Time


class Trend(TypedDict):
    """Over three analyses or more."""
    # Analyses with a number.
    n: int
    # The median slope of all pairs (Theil and Sen), for one unit of `at`.
    slope: Optional[float]
    # Median of value - slope × at.
    intercept: Optional[float]
    # Rank correlation tau-b with `at`; 1 = it rises with every step.
    kendall: Optional[float]
    # Of `alpha` only. The first analysis where it is outside 2 to 6.
    leaves: Optional[AnalysisId]
    # The first inside after that.
    returns: Optional[AnalysisId]
    # How many are outside.
    outside: int


class ComparedMetricMovedItem(TypedDict):
    longname: str
    first: float
    last: float
    difference: float
    # How far its difference is from what is usual among the layers, as a robust z; far from 0
    # where it moved otherwise than the others. Null with fewer than 5 layers.
    z: Optional[float]


class ComparedMetric(TypedDict):
    metric: str
    # Layers that have a number in every analysis.
    n_layers: int
    # Over those, one for each analysis.
    mean: List[Optional[float]]
    # Of the means, last minus first.
    difference: Optional[float]
    # Of the means.
    trend: Optional[Trend]
    # The largest differences first; layers that did not move are left out.
    moved: List[ComparedMetricMovedItem]


class ComparisonWarningChangesItem(TypedDict):
    longname: str
    analysis: AnalysisId
    warning_before: str
    warning_after: str
    alpha_before: float
    alpha_after: float


class ComparedDistancesRequest1(TypedDict):
    kind: str
    source: Source
    params: DistancesParams


class ComparedDistances(TypedDict):
    """With `distances`. What is known of the weights' way; numbers of layers."""
    first: AnalysisId
    last: AnalysisId
    n_measured: int
    n_identical: int
    # Nobody has measured them.
    n_unknown: int
    # Rows that are no tensor in one of the two analyses, but made of several: differences from a
    # base, adapters, products.
    n_composed: int
    # Whose shapes differ.
    n_shape: int
    # That are not in both.
    n_absent: int
    # What measures the unknown ones when it is sent to `POST /v1/jobs`. Null when there are none,
    # or when the jobs that made the analyses are forgotten.
    request: Optional[ComparedDistancesRequest1]


class ComparedDistance(TypedDict):
    """With `distances`. As in the layers of distances; null where it is not known."""
    status: str
    raw: Optional[float]
    euclidean: Optional[float]
    relative: Optional[float]
    cosine: Optional[float]
    cka: Optional[float]


class ComparedLayerMetricsValue(TypedDict):
    # One for each analysis; null where there is none.
    values: List[Optional[float]]
    # Last minus first.
    difference: Optional[float]
    trend: Optional[Trend]


class _ComparedLayer(TypedDict):
    longname: str
    role: str
    layer_type: str
    # Its weights are not those of the last analysis but one, or it is in one of the two alone.
    changed: bool
    missing_in: List[AnalysisId]
    # By name.
    metrics: Dict[str, ComparedLayerMetricsValue]


class ComparedLayer(_ComparedLayer, total=False):
    distance: ComparedDistance


class _Comparison(TypedDict):
    # In the order of all values below.
    analyses: List[ComparisonAnalysesItem]
    step_label: Optional[str]
    # In any of the analyses.
    n_layers: int
    # In all of them.
    n_shared: int
    # Whose weights the last step changed.
    n_changed: int
    metrics: List[ComparedMetric]
    # Exponents that went from one side of 2 or of 6 to the other.
    warning_changes: List[ComparisonWarningChangesItem]
    layers: List[ComparedLayer]


class Comparison(_Comparison, total=False):
    distances: ComparedDistances


class DistancesLinks(TypedDict):
    self: str
    layers: str


class Distances(TypedDict):
    """How far the weights of a model are from those of another, all layers together."""
    id: DistancesId
    model: ModelId
    base: ModelId
    # It was asked for.
    cka: bool
    n_layers: int
    n_measured: int
    # Of those measured.
    n_identical: int
    # Layers that cannot be compared; their rows say why.
    n_skipped: int
    n_failed: int
    # Matrices of the base that the model does not have.
    n_only_in_base: int
    # The Euclidean norm of all differences together.
    total: Optional[float]
    # That, by the norm of the same layers of the base.
    relative_total: Optional[float]
    mean_raw: Optional[float]
    mean_euclidean: Optional[float]
    mean_relative: Optional[float]
    mean_cosine: Optional[float]
    mean_cka: Optional[float]
    # A layer without a bias counts as 0.
    mean_bias: Optional[float]
    links: DistancesLinks


# A member of a row.
DistanceColumn = str


class DistanceLayer(TypedDict, total=False):
    """Every member is there unless `columns` selects some."""
    # As in analyses of the model.
    layer_id: int
    name: str
    longname: str
    tensor: str
    block: str
    role: str
    layer_type: str
    dtype: str
    # Of the other model's tensor.
    base_dtype: Optional[str]
    shape: List[int]
    # Slices; 1 but for convolutions.
    rf: int
    status: str
    # Why there is no distance: `no_base` and `base_shape`, when the other model has no tensor of
    # that name, or one of another shape; else as in the layers of analyses.
    reason: Optional[str]
    detail: Optional[str]
    # The same dtype and bytes: then relative is 0, and cosine and CKA are 1, even where all
    # weights are zero.
    identical: Optional[bool]
    # Frobenius norm of the difference of the whole tensors.
    raw: Optional[float]
    # The same of each slice of a convolution, and their mean; of one matrix, `raw`.
    euclidean: Optional[float]
    # `raw` by `base_norm`.
    relative: Optional[float]
    # Of the angle between the tensors, taken as vectors.
    cosine: Optional[float]
    # Similarity of 0 to 1: |A'B| / sqrt(|A'A| |B'B|), Frobenius norms, not centred; the mean over
    # slices.
    cka: Optional[float]
    # `limit`: it takes more memory than all workers have together.
    cka_reason: Optional[str]
    # Frobenius norm of the tensor.
    norm: Optional[float]
    # That of the other model's.
    base_norm: Optional[float]
    # Distance of the layer's biases, where it has one.
    bias: Optional[float]
    # Why a bias has no distance.
    bias_reason: Optional[str]
    # Content digest of the tensor, as in analyses.
    digest: Optional[str]
    base_digest: Optional[str]


class DistanceLayerList(TypedDict):
    layers: List[DistanceLayer]
    next_page_token: NextPageToken


# Numbers of a model's tensors by name, in the order of the model: at least the metric asked for.
# Norms and biases may be listed without any, to be told whose multiplier they inherit. Blocks and
# roles are read from the names.
SentMetrics = Dict[str, Dict[str, Any]]


class _SentSpectraItem(TypedDict):
    name: str


class SentSpectraItem(_SentSpectraItem, total=False):
    # Read from the name when missing; linear where it does not say and has eigs.
    kind: Literal["linear", "conv2d", "norm", "bias", "embedding", "other"]
    shape: List[int]
    # The block it belongs to, where its name does not say.
    block: str
    # In any order. For fits that scan (xmin_peak, ks) the squares of their numbers may sum to
    # 2^30 over all layers. Without them a layer can only inherit a multiplier.
    eigs: List[float]


# Layers in the order of the model, with their eigenvalues (squared singular values), from which
# exponents are fitted as `fit` says.
SentSpectra = List[SentSpectraItem]


class SpectraFit(TypedDict, total=False):
    """How exponents come from the eigenvalues of `layers`."""
    # Where the tail starts: `xmin_mid` at a fixed place (TempBalance's median), `xmin_peak` near
    # the peak of the density (its fix-finger), `ks` where a power law fits best (goodness-of-
    # fit).
    method: Literal["xmin_mid", "xmin_peak", "ks"]
    # For xmin_mid, the tail starts at eigenvalue floor(n / xmin_pos), from 0.
    xmin_pos: float
    # For xmin_mid: the threshold is the first value of the tail, as in the papers' code, or the
    # one below, as in their text.
    hill_variant: Literal["code", "paper"]
    # For xmin_peak, the lower bound as the code has it, or as it is meant.
    peak_compat: Literal["upstream", "linear"]
    # Leave out eigenvalues up to `evals_thresh`, unless that is all.
    filter_zeros: bool
    evals_thresh: float
    # Eigenvalues of conv2d layers are multiplied by it; TempBalance's code has 0.5. It moves
    # lambda_max, norm, alpha_weighted, and xmin_peak.
    conv_norm: float


class ScheduleWindow(TypedDict):
    """With unit `sliding_window`."""
    # Of the block, in the order of the layers.
    index: int
    scale: float


class ScheduleAssign(TypedDict, total=False):
    """From scores to multipliers, with n units. `linear`: s1 + (s2 - s1) * (s - min) / (max -
    min); `sqrt`: n * sqrt(s) / sum sqrt(s); `log2` likewise; `rank`: s1 + (s2 - s1) * r / n
    with r from 0; `sigmoid`: 10^(c * (1 / (1 + exp(-tau * (s - mean))) - 1/2)), where c is
    sigmoid_max above the mean and else sigmoid_min; `zscore`: 2 / (1 + exp(-tau * z)) with
    z = (s - mean) / std over the matrices of the same block.
    """
    fn: Literal["linear", "sqrt", "log2", "rank", "sigmoid", "zscore"]
    s1: float
    s2: float
    sigmoid_min: float
    sigmoid_max: float
    # Default 10 for sigmoid, 4 for zscore.
    tau: float
    # Then divide by the mean multiplier over all matrices.
    normalize: bool


class ScheduleRequestLimits(TypedDict, total=False):
    """Bounds of every multiplier. Where the function or `normalize` makes the mean 1 it stays
    1: what the bounds take is spread over the others.
    """
    min: float
    max: float


class ScheduleExclude(TypedDict, total=False):
    """Which matrices get no multiplier of their own; before the range is looked at."""
    # The first matrix. Default true for tempbalance with `metrics`, else false: layers of an
    # analysis come in the natural order of their names, not in that of the modules.
    first: bool
    # The last matrix; default as `first`.
    last: bool
    # Those with fewer eigenvalues.
    min_eigs: int
    embeddings: bool
    # The output matrix, by its name; default true unless the last is left out.
    heads: bool
    # These layers, and all beneath (`model.layers.0`).
    names: List[str]


class ScheduleRequest(TypedDict, total=False):
    analysis: AnalysisId
    metrics: SentMetrics
    layers: SentSpectra
    fit: SpectraFit
    source: Source
    # The scores stay those of this analysis, whatever the `analysis` or `source`, which is then
    # not analysed: a loop that freezes its schedule adds this to the same request.
    freeze_from: Optional[AnalysisId]
    # Of the training; echoed.
    step: int
    # Of the analysis of the source.
    params: AnalyzeParams
    # Of the job that analyses the source, and of its analysis.
    labels: Labels
    # A numeric column of layers; alpha_mid when missing. With `metrics` any member of theirs;
    # when missing the first of alpha_mid, alpha, alpha_peak that one of them has. With `layers`
    # alpha (default), D, alpha_weighted (alphahat), lambda_max (spectral_norm), norm or
    # stable_rank.
    metric: str
    # Sets the defaults of the other members. `tempbalance`: fn linear from 0.5 to 1.5, unit
    # matrix; `modelbalancing`: fn sigmoid, unit block; `llr`: fn linear from 1 to 5, outside max;
    # `alphadecay`: fn linear from 0.67 to 3, tune weight_decay.
    method: Literal["tempbalance", "modelbalancing", "llr", "alphadecay"]
    # Learning rate of multiplier 1; without it replies have multipliers only.
    base_lr: float
    # Weight decay of multiplier 1.
    base_weight_decay: float
    # What gets a multiplier. `matrix`: each; `block`: all of a block, whose score is the mean
    # over its matrices; `layer`: each, that of its block times s1 to s2, linearly in its score
    # within the block; `sliding_window`: one block `window.scale`, the others 1.
    unit: Literal["matrix", "block", "layer", "sliding_window"]
    window: ScheduleWindow
    # What the multiplier is applied to.
    tune: Literal["lr", "weight_decay", "both"]
    assign: ScheduleAssign
    # Bounds of every multiplier. Where the function or `normalize` makes the mean 1 it stays 1:
    # what the bounds take is spread over the others.
    limits: ScheduleRequestLimits
    exclude: ScheduleExclude
    # Who takes over the multiplier of a matrix. `name`: a BatchNorm that of its convolution (bn1
    # of conv1), a bias that of its matrix; `order`: moreover a norm that of the matrix before it;
    # `block`: all of a block that has none of its own the mean of its block (default for unit
    # block); `none`.
    norm_binding: Literal["none", "name", "order", "block"]
    # What left-out embeddings and heads get, 1 or the largest multiplier.
    outside: Literal["base", "max"]
    # `reference`: as the papers' code when every score is the same (`s2` instead of 1), and with
    # eigenvalues of 0 among `layers` (they count when the middle is looked for).
    compat: Literal["safe", "reference"]


class _ScheduleFit(TypedDict):
    method: str
    filter_zeros: bool
    # Null without `filter_zeros`.
    evals_thresh: Optional[float]
    conv_norm: float


class ScheduleFit(_ScheduleFit, total=False):
    """As used for eigenvalues sent along."""
    xmin_pos: float
    hill_variant: str
    peak_compat: str


class _ScheduledLayer(TypedDict):
    # The longname of a row; as sent.
    name: str
    # Why it has no multiplier of its own.
    excluded: Optional[str]
    # 1 where nothing says otherwise.
    multiplier: float
    # Null without `base_lr`.
    lr: Optional[float]
    # Null without `base_weight_decay`.
    weight_decay: Optional[float]


class ScheduledLayer(_ScheduledLayer, total=False):
    # The whole name of the parameter.
    tensor: str
    block: str
    role: str
    n_eigs: Optional[float]
    # The metric.
    score: Optional[float]
    # The largest eigenvalue, sigma_max^2.
    lambda_max: Optional[float]
    # Sum of the eigenvalues, the column norm.
    fro2: Optional[float]
    # The column alpha.
    alpha: Optional[float]
    # The column D.
    D: Optional[float]
    # The column alpha_weighted.
    alphahat: Optional[float]
    # Whose multiplier it has.
    inherits: Optional[str]


class _Schedule(TypedDict):
    metric: str
    method: str
    unit: str
    tune: str
    # As used, with the defaults.
    assign: ScheduleAssign
    # Every score is the same; every multiplier is 1 (unless `compat` says else).
    degenerate_range: bool
    layers: List[ScheduledLayer]
    # Whose multiplier a layer inherits, a matrix or a block or `max`.
    bindings: Dict[str, str]
    warnings: List[str]


class Schedule(_Schedule, total=False):
    analysis: AnalysisId
    # The job that analysed the source.
    job: JobId
    step: int
    freeze_from: AnalysisId
    window: ScheduleWindow
    norm_binding: str
    compat: str
    base_lr: Optional[float]
    base_weight_decay: Optional[float]
    # Of the layers; what first, last and norm_binding order go by.
    order: str
    # How a convolution became a spectrum.
    matrix_convention: Optional[str]
    # Of the fits to eigenvalues sent along.
    precision: str
    # As used for eigenvalues sent along.
    fit: ScheduleFit
    # Matrices with a multiplier of their own.
    n_scheduled: int
    n_units: int
    # Of the scores of the units.
    alpha_mean: Optional[float]
    # Standard deviation of the scores (of the population): how unbalanced the model is.
    alpha_std: Optional[float]


class _SimpsonRequestRowsItem(TypedDict):
    group: str
    # What metrics ought to tell, such as test accuracy.
    quality: float
    # Numbers by name; a row that has none, or null, is left out where that metric is judged.
    metrics: Dict[str, Optional[float]]


class SimpsonRequestRowsItem(_SimpsonRequestRowsItem, total=False):
    # Training less test accuracy, what the contest's score is of; without it in any row the score
    # is of `quality`.
    gap: float
    # For the contest's score; every row has the same names.
    hyperparameters: Dict[str, Union[float, str]]


class _SimpsonRequest(TypedDict):
    # One model each.
    rows: List[SimpsonRequestRowsItem]


class SimpsonRequest(_SimpsonRequest, total=False):
    # Which quality is better; lower for an error or a loss.
    better: Literal["lower", "higher"]
    # By name of a metric which values good models have. Known without it: lower for alpha,
    # alpha_weighted, log_norm, log_spectral_norm, log_alpha_norm, D and their like, higher for
    # rand_distance.
    expected: Dict[str, Literal["lower", "higher", "unknown"]]
    # Random orders for each p; 9999 when missing, fewer where rows times metrics times replicates
    # would pass 40 million. 0: only exact p, of up to 8 rows.
    replicates: int
    # Of random orders. The same request has the same answer.
    seed: int
    # Also the contest's score; every combination of two hyperparameters needs rows.
    contest: bool


class _SimpsonFit(TypedDict):
    # Rows.
    n: int
    # Of quality by metric.
    slope: Optional[float]
    intercept: Optional[float]
    r2: Optional[float]
    # Root of the mean squared residual.
    rmse: Optional[float]
    # Kendall's τ-b.
    kendall: Optional[float]
    # Spearman's ρ.
    spearman: Optional[float]
    # Share of orders of the rows with a ρ at least as far from 0.
    p: Optional[float]
    # Orders that p comes from.
    replicates: int
    # They are all there are.
    exact: bool


class SimpsonFit(_SimpsonFit, total=False):
    """A line through rows, by least squares. null where rows are fewer than 4 or all values of
    the metric are equal, and for r2, kendall, spearman and p where all qualities are.
    """
    # In the list of groups.
    group: str


class SimpsonMetricWithin(TypedDict):
    # Of all groups together, each about its own means.
    slope: Optional[float]
    # Mean of the groups' τ, weighted by their rows.
    kendall: Optional[float]
    # Of at least 4 rows.
    groups: int
    # Of them, with a slope.
    sloped: int
    # Of them, with a slope of the same sign as that of all.
    agreeing: int


class SimpsonMetricBetween(TypedDict):
    # Of the groups' means, one point each.
    slope: Optional[float]


class SimpsonMetricConditions(TypedDict):
    """The paradox is there when all are true."""
    # Pooled and within slopes have opposite signs.
    opposite: bool
    # At least two groups have a slope.
    enough_groups: bool
    # The pooled τ is at least 0.2 from 0.
    pooled_clear: bool
    # The same of the τ within.
    within_clear: bool
    # Two thirds of the slopes have the sign within.
    groups_agree: bool


class SimpsonMetricContest(TypedDict):
    """Only when asked for."""
    # 100 times the conditional mutual information of metric and target over the entropy of the
    # target, the least over pairs of hyperparameters. A metric that is always wrong scores as one
    # that is always right.
    score: float
    target: str
    # The two hyperparameters of the score.
    given: List[str]


class _SimpsonMetric(TypedDict):
    metric: str
    # Which values good models are expected to have; null when that is not known.
    better: Optional[str]
    # Rows without this metric.
    left_out: int
    # All rows.
    pooled: SimpsonFit
    # In the order in which groups come.
    groups: List[SimpsonFit]
    within: SimpsonMetricWithin
    between: SimpsonMetricBetween
    # The paradox is there when all are true.
    conditions: SimpsonMetricConditions
    paradox: bool
    # Which slopes are against what is expected of this metric; null when nothing is expected or a
    # slope is missing or 0.
    wrong: Optional[str]


class SimpsonMetric(_SimpsonMetric, total=False):
    # Only when asked for.
    contest: SimpsonMetricContest


class Simpson(TypedDict):
    better: str
    seed: int
    rows: int
    metrics: List[SimpsonMetric]
    warnings: List[str]


class _ExpertsRequest(TypedDict):
    # Experts of all blocks together.
    total: int


class ExpertsRequest(_ExpertsRequest, total=False):
    analysis: AnalysisId
    metrics: SentMetrics
    layers: SentSpectra
    fit: SpectraFit
    source: Source
    # Of the analysis of the source.
    params: AnalyzeParams
    # Of the job that analyses the source, and of its analysis.
    labels: Labels
    # A numeric column of layers; alpha_mid when missing. With `metrics` any member of theirs;
    # when missing the first of alpha_mid, alpha, alpha_peak that one of them has.
    metric: str
    beta: float
    # Of every block; set aside first. Rounding alphalora knows none.
    minimum: int
    # `alphalora`: as its code, round half to even and let one block take the whole correction of
    # the sum.
    rounding: Literal["largest_remainder", "alphalora"]


class ExpertsBlocksItem(TypedDict):
    block: str
    # Matrices that the score is the mean of.
    tensors: int
    score: float
    # score^beta, divided by the sum of all.
    share: float
    experts: int
    # Experts active per token, as AlphaLoRA sets it.
    top_k: int


class _Experts(TypedDict):
    metric: str
    total: int
    beta: float
    minimum: int
    rounding: str
    # In the order of the model.
    blocks: List[ExpertsBlocksItem]
    warnings: List[str]


class Experts(_Experts, total=False):
    analysis: AnalysisId
    # The job that analysed the source.
    job: JobId


class PlanRequestLimitsTensorsValue(TypedDict, total=False):
    min: Share
    max: Share


class PlanRequestLimits(TypedDict, total=False):
    """Of every tensor's sparsity."""
    min: Share
    max: Share
    # Tensors with limits of their own.
    tensors: Dict[str, PlanRequestLimitsTensorsValue]


class PlanRequest(TypedDict, total=False):
    """One of `analysis`, `metrics` and `source`. A member that the method does not take is
    refused.
    """
    analysis: AnalysisId
    source: Source
    # With a source; of the job, and of its analysis.
    labels: Labels
    # With a source; of the analysis. Its filters say which layers have a row with numbers: what
    # they skip takes no part in the plan.
    analyze: AnalyzeParams
    # Tensors by name, each with its numbers.
    metrics: Dict[str, Dict[str, Any]]
    method: PlanMethod
    # The target, over the tensors that take part.
    sparsity: Share
    # A numeric column of layers, or a member of `metrics`. Default for owl: outlier_ratio, for
    # dlp: score.
    metric: str
    # alphapruning: ratios lie between 1 − epsilon and 1 + epsilon times a common factor
    # (multiplicative), or that far around the target (additive).
    epsilon: Share
    # Whose metric counts: the mean of the block's tensors, each tensor's own, or the block's and
    # then, by inner_epsilon, each tensor's within it.
    mapping: Literal["block_wise", "per_matrix", "mixed"]
    # Of the mapping mixed; a third of epsilon by default.
    inner_epsilon: Share
    mode: Literal["multiplicative", "additive"]
    # prune takes more from a larger metric. low_rank is for factorisations, and takes more from a
    # smaller one (a heavy tail); sparsity is the share of weights that the factors save, and
    # tensors have a rank.
    direction: Literal["prune", "low_rank"]
    # linear makes the metric alpha_peak mean alpha_peak_linear.
    peak_compat: Literal["upstream", "linear"]
    # atp: the step from block to block. By default half of what keeps all ratios between 0 and 1;
    # upstream searches it by perplexity.
    beta: Share
    # owl (0.16) and dlp (0.3); the range of ratios, twice the Λ or α of the papers.
    width: Share
    # owl and dlp: each tensor's outlier ratio (percent) or score, measured elsewhere; or, with a
    # `source`, a safetensors file of calibration statistics (`sumsq` of every input), from which
    # they are measured.
    stats: Union[Dict[str, float], Source]
    # owl with a file of statistics; scores above this many means of their block are outliers.
    outlier_factor: float
    # Of every tensor's sparsity.
    limits: PlanRequestLimits
    # What takes no part, by a POSIX extended regular expression or by names.
    exclude: Union[str, List[str]]
    # N:M: every tensor loses a whole number of each m weights, which is its own (mixed N:m).
    m: int
    # Remove whole channels and heads; excludes m and the direction low_rank.
    structure: PlanStructure
    # alphaq, which takes no sparsity, limits or m.
    bits: BitsRule


class PlanGroup(TypedDict):
    block: Optional[str]
    part: str
    unit: str
    # Units that stay.
    kept: int
    of: int
    # Weights of all its matrices.
    params: int
    params_kept: int


class BitsPlanParams(TypedDict):
    bits: BitsRule
    peak_compat: str


class BitsPlanBlocksItem(TypedDict):
    block: Optional[str]
    n_tensors: int
    # The mean over its tensors.
    metric: Optional[float]
    params: int
    # For each weight.
    bits: float


class BitsPlanTensorsItem(TypedDict):
    name: str
    block: Optional[str]
    role: str
    metric: Optional[float]
    params: int
    weight_var: float
    bits: int
    loss: float


class PlanWarning(TypedDict):
    code: str
    detail: str


class _BitsPlanLinks(TypedDict):
    self: str


class BitsPlanLinks(_BitsPlanLinks, total=False):
    analysis: str


class BitsPlan(TypedDict):
    """Bit widths by alphaq. A tensor of b bits costs (median(alpha) / alpha)^gamma · variance
    · 4^−b, and the sum of that is as small as the average allows but for the last bits that
    do not fit.
    """
    id: PlanId
    # null when metrics were sent.
    analysis: Optional[str]
    method: str
    metric: str
    params: BitsPlanParams
    target_bits: float
    # The average over what was asked for, matrices or parameters; at most the target.
    achieved_bits: float
    # The average over parameters, whatever was asked for.
    bits_per_weight: float
    # The sum over tensors.
    loss: float
    # What no allocation of this average is below.
    bound: float
    n_params: int
    n_params_total: int
    feasible: bool
    # In order of depth.
    blocks: List[BitsPlanBlocksItem]
    # In natural order of names.
    tensors: List[BitsPlanTensorsItem]
    warnings: List[PlanWarning]
    links: BitsPlanLinks


class PlanRange(TypedDict):
    min: Share
    max: Share


class _PlanParams(TypedDict):
    limits: PlanRange


class PlanParams(_PlanParams, total=False):
    """What was asked for, with defaults; what the method takes."""
    mapping: str
    mode: str
    direction: str
    epsilon: Share
    inner_epsilon: Share
    peak_compat: str
    width: Share
    beta: Share
    # `global_magnitude`, `lamp`: weights with a smaller score go. null when all may go.
    threshold: Optional[float]
    m: int
    structure: PlanStructure


class PlanBlock(TypedDict):
    # null for a tensor that is in no block.
    block: Optional[str]
    n_tensors: int
    # The mean over its tensors; for owl and dlp by number of weights.
    metric: Optional[float]
    params: int
    sparsity: Share


class PlanTensorWidth(TypedDict):
    """With a structure only; which stored dimension loses how much."""
    # Position in `groups`.
    group: int
    dim: int
    kept: int
    of: int


class _PlanTensor(TypedDict):
    # The longname, or as sent.
    name: str
    block: Optional[str]
    role: str
    metric: Optional[float]
    params: int
    sparsity: Share
    # The limit that it is at.
    limit: Optional[str]


class PlanTensor(_PlanTensor, total=False):
    # N:M plans only; how many of each m weights go.
    pruned_of_m: int
    # N:M plans only; how many of each m weights stay, the N of N:M as papers write it (2:4 keeps
    # two of four). m − pruned_of_m.
    kept_of_m: int
    # With a structure only; which stored dimension loses how much.
    width: PlanTensorWidth
    # direction low_rank only; the rank of a factorisation with no more than the weights that
    # stay, ⌊(1 − sparsity) · m n / (m + n)⌋ for an m × n matrix (inputs and kernel of a
    # convolution together are n), at least 1. null when nothing is removed, or no shape was sent.
    rank: Optional[int]


class _PlanLinks(TypedDict):
    self: str


class PlanLinks(_PlanLinks, total=False):
    analysis: str


class _Plan(TypedDict):
    id: PlanId
    # null when metrics were sent.
    analysis: Optional[str]
    method: PlanMethod
    # What was read; null for a method without.
    metric: Optional[str]
    params: PlanParams
    target_sparsity: Share
    # Of the plan's tensors together; the target but for rounding, or for N:M steps.
    achieved_sparsity: Share
    # Of all tensors of the model, those included that take no part.
    model_sparsity: Share
    # Weights of the plan's tensors.
    n_params: int
    # Weights of all tensors.
    n_params_total: int
    # Always true; a target that cannot be met is refused.
    feasible: bool
    # The targets that these limits allow.
    feasible_range: PlanRange
    # In order of depth.
    blocks: List[PlanBlock]
    # In natural order of names.
    tensors: List[PlanTensor]
    warnings: List[PlanWarning]
    links: PlanLinks


class Plan(_Plan, total=False):
    # With a structure only; in order of their first tensors.
    groups: List[PlanGroup]


class _PlanCompareRequest(TypedDict):
    sparsity: Share


class PlanCompareRequest(_PlanCompareRequest, total=False):
    """What all plans share, and the plans. Exactly one of `analysis` and `metrics`."""
    analysis: AnalysisId
    # As for one plan; with a member for each metric that is compared.
    metrics: Dict[str, Dict[str, Any]]
    # As for one plan.
    limits: Dict[str, Any]
    # As for one plan.
    exclude: Union[str, List[str]]
    plans: List[Dict[str, Any]]


class PlanComparisonPlansItemLinks(TypedDict):
    self: str


class PlanComparisonPlansItem(TypedDict):
    name: str
    id: PlanId
    method: PlanMethod
    metric: Optional[str]
    achieved_sparsity: Share
    # The least ratio of a block.
    min: Share
    # The greatest.
    max: Share
    links: PlanComparisonPlansItemLinks


class PlanComparisonLeftOutItem(TypedDict):
    name: str
    reason: str


class PlanComparisonBlocksItem(TypedDict):
    # null for a tensor that is in no block.
    block: Optional[str]
    # A ratio for each of `plans`.
    sparsity: List[Share]
    # Between the least and the greatest of them.
    range: Share


class PlanComparisonCorrelationsItem(TypedDict):
    a: str
    b: str
    spearman: Optional[float]
    kendall: Optional[float]


class PlanComparisonDisagreementsItem(TypedDict):
    block: Optional[str]
    range: Share
    # The plan with the least ratio.
    least: str
    # And with the greatest.
    most: str


class PlanComparison(TypedDict):
    # null when metrics were sent.
    analysis: Optional[str]
    sparsity: Share
    plans: List[PlanComparisonPlansItem]
    # Plans of the usual set that cannot be had here.
    left_out: List[PlanComparisonLeftOutItem]
    # In order of depth.
    blocks: List[PlanComparisonBlocksItem]
    # One for each pair of plans, over blocks.
    correlations: List[PlanComparisonCorrelationsItem]
    # The blocks of the largest ranges, largest first.
    disagreements: List[PlanComparisonDisagreementsItem]


class _ProblemErrorsItem(TypedDict):
    detail: str


class ProblemErrorsItem(_ProblemErrorsItem, total=False):
    # JSON pointer into the body, as a URI fragment.
    pointer: str
    # Name of a query parameter or of a header.
    parameter: str


class _Problem(TypedDict):
    # Stable URI of the kind of problem.
    type: str
    title: str
    status: int
    detail: str
    # Kind of the problem. There may be more, one day.
    code: str
    # The request id, as in X-Request-Id.
    instance: str


class Problem(_Problem, total=False):
    errors: List[ProblemErrorsItem]
