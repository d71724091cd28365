"""Calibration statistics of a PyTorch model, for pruning.

    from spectrald import hooks
    hooks.collect(model, batches, "model.stats.safetensors")

For every linear layer in a numbered block, of its inputs x (one row per token, C features):

    MODULE.sumsq  F64 [C]     sum of x^2
    MODULE.sum    F64 [C]     sum of x
    MODULE.count  I64 [2]     tokens, sequences
    MODULE.xlast  [n, C]      the last token of each sequence, in the dtype of the forward pass
    MODULE.gram   F32 [C, C]  sum of x x^T, exactly symmetric; C^2 numbers, so only when asked for

Sums are not scaled. MODULE is the module's name, which is its weight's in the checkpoint without
`.weight`. Modules that are given the very same tensor (q, k and v; gate and up) share the
statistics of the one called first; the metadata's `aliases` tell whose. Of modules that are never
called (experts that get no token) there is a `.count` of zeros, and of every mixture of experts
`.expert_count` F64 [E], tokens per expert.

Half precision is cast to float32 before it is squared; vectors are added up in float64, the Gram
matrix in float32 with TF32 and autocast off. Needs PyTorch 1.13 or later.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import re
import weakref
from types import TracebackType
from typing import (Any, Callable, Collection, Dict, Iterable, Iterator, List, Mapping, Optional,
                    Tuple, Type, Union)

import torch

from . import safetensors
from .bodies import StrPath

ALL = ("sumsq", "sum", "count", "xlast", "gram")
DEFAULT = ("sumsq", "sum", "count", "xlast")
XLAST_LIMIT = 256

Modules = Union[None, str, Collection[str], Callable[[str, Any], bool]]

_IN_BLOCK = re.compile(r"(?:^|\.)\d+\.")
_EXPERT = re.compile(r"^(?:(.*)\.)?experts\.(\d+)(?:\.|$)")
_WRAPPERS = re.compile(r"(?:^module\.|\b_orig_mod\.)")  # DistributedDataParallel, torch.compile
_DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16",
           torch.bfloat16: "BF16", torch.int64: "I64"}


class _Rows:
    """The input of one call: tokens [n, C], the last token of each sequence [s, C] or None where
    that is not known, and the number of sequences."""

    def __init__(self, tokens: Any, last: Any, sequences: int, length: int) -> None:
        self.tokens, self.last, self.sequences, self.length = tokens, last, sequences, length


class _Sums:
    """Statistics of one input."""

    def __init__(self, wanted: Collection[str], xlast_limit: int, offload: bool) -> None:
        self.wanted, self.room, self.offload = set(wanted), xlast_limit, offload
        self.calls = self.tokens = self.sequences = self.length = 0
        self.dtype = ""
        self.vectors: Dict[str, Any] = {}
        self.gram: Any = None
        self.xlast: List[Any] = []

    def add(self, rows: _Rows) -> None:
        x = rows.tokens
        self.calls += 1
        self.tokens += int(x.shape[0])
        self.sequences += rows.sequences
        self.length = max(self.length, rows.length)
        self.dtype = str(x.dtype).replace("torch.", "")
        if rows.last is not None and self.room > 0 and "xlast" in self.wanted:
            last = rows.last[:self.room]
            self.room -= int(last.shape[0])
            # A copy: a view would keep the whole input.
            last = last.float() if last.dtype == torch.float64 else last
            self.xlast.append(last.to("cpu", copy=True))
        wide = x if x.dtype == torch.float64 else x.float()
        if "sum" in self.wanted:
            self._vector("sum", wide)
        if "sumsq" in self.wanted:
            self._vector("sumsq", wide.square())
        if "gram" in self.wanted:
            self._gram(wide.float())

    def _vector(self, kind: str, x: Any) -> None:
        # Apple's devices have no float64.
        part = x.cpu().sum(0, dtype=torch.float64) if x.device.type == "mps" \
            else x.sum(0, dtype=torch.float64)
        mine = self.vectors.get(kind)
        self.vectors[kind] = part.cpu() if mine is None else mine.add_(part.to(mine.device))

    def _gram(self, x: Any) -> None:
        if self.offload:
            part = (x.t() @ x).cpu()
            self.gram = part if self.gram is None else self.gram.add_(part)
            return
        if self.gram is None:
            self.gram = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float32, device=x.device)
        x = x.to(self.gram.device)
        self.gram.addmm_(x.t(), x)

    def tensors(self) -> Iterator[Tuple[str, Any]]:
        """What there is, by kind. Raises ValueError for what is not finite."""
        if "count" in self.wanted or not self.calls:
            yield "count", torch.tensor([self.tokens, self.sequences], dtype=torch.int64)
        for kind, value in self.vectors.items():
            yield kind, value
        if self.xlast:
            yield "xlast", torch.cat(self.xlast)
        if self.gram is not None:
            # A product of a matrix with itself need not come out symmetric in its last bits.
            yield "gram", (self.gram + self.gram.t()).mul_(0.5)


class Collector:
    """Collects while it is entered:

        with Collector(model, stats=hooks.ALL) as c, torch.no_grad():
            for batch in batches:
                c.run(batch)              # or model(…), after setting c.attention_mask
        c.save("model.stats.safetensors")

    stats        which of hooks.ALL
    modules      which modules: None: Linear and Conv1D in numbered blocks, whose weight is 2-D; a
                 regular expression found in the name; names; or a function of name and module
    xlast_limit  keep the last token of so many sequences, the first ones
    mode         "dense", or "sequential" when earlier blocks are pruned already; for the metadata
    prefix       put before every name, where `model` is a part of what the checkpoint holds
    share        False: statistics for every module, though modules have the same input
    offload      keep Gram matrices in main memory instead of on the device of their layer

    A sequence is a row of the batch in one forward pass. Where tokens of a batch come as one
    matrix, as those for an expert do, it is not known whose they are: there is no xlast then, all
    sequences of the batch are counted, and padding cannot be told apart and is refused: use
    full-length sequences for mixtures of experts.
    """

    def __init__(self, model: Any, stats: Collection[str] = DEFAULT, *, modules: Modules = None,
                 xlast_limit: int = XLAST_LIMIT, mode: str = "dense", prefix: str = "",
                 share: bool = True, offload: bool = False) -> None:
        unknown = set(stats) - set(ALL)
        if unknown or not stats or isinstance(stats, str):
            raise ValueError(f"stats are some of {', '.join(ALL)}: {stats!r}")
        if mode not in ("dense", "sequential"):
            raise ValueError(f"mode is dense or sequential: {mode!r}")
        if xlast_limit < 0:
            raise ValueError(f"xlast_limit is at least 0: {xlast_limit}")
        self.model, self.mode, self.share = model, mode, share
        #: [sequences, tokens], nonzero where a token counts, for the passes that follow; or None
        self.attention_mask: Any = None
        #: (sequences, tokens) of the passes that follow, where the model is not called with ids
        self.shape: Any = None
        self._modules = {prefix + clean(name): module
                         for name, module in _select(model, modules)}
        if not self._modules:
            raise ValueError("no module to collect from; see the argument modules")
        self._sums = {name: _Sums(stats, xlast_limit, offload) for name in self._modules}
        self._base: Dict[str, str] = {}    # module: whose statistics are its own, too
        self._uses: Dict[str, int] = {}    # alias: how often it was called
        self._seen: Dict[int, Tuple[Any, int, str]] = {}
        self._ids: Any = None              # the same of this pass, where known
        self._handles: List[Any] = []

    # --- hooks ---------------------------------------------------------------------------------

    def __enter__(self) -> Collector:
        self._handles = [self.model.register_forward_pre_hook(self._begin)]
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_pre_hook(self._hook(name)))
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._seen.clear()

    def _hook(self, name: str) -> Callable[[Any, Tuple[Any, ...]], None]:
        def see(module: Any, args: Tuple[Any, ...]) -> None:
            x: Any = args[0] if args else None
            if not torch.is_tensor(x) or not x.is_floating_point():
                raise ValueError(f"{name} was not called with a floating-point tensor")
            # Outside inference mode, whose tensors could not be added to later.
            with torch.inference_mode(False), torch.no_grad(), _exact(x.device.type):
                self._take(name, x)
        return see

    def _begin(self, module: Any, args: Tuple[Any, ...]) -> None:
        """A forward pass of the whole model begins."""
        self._seen.clear()
        self._ids = self.shape or _token_shape(args[0] if args else None)

    def _take(self, name: str, x: Any) -> None:
        base = self._whose(name, x)
        if base != name:
            self._uses[name] = self._uses.get(name, 0) + 1
            return
        self._sums[name].add(self._rows(name, x))

    def _whose(self, name: str, x: Any) -> str:
        """The module whose statistics are those of this call's input: the first that was called
        with this tensor, if that is still alive and unchanged."""
        version = 0 if _is_inference(x) else x._version
        ref, then, first = self._seen.get(id(x), (None, 0, name))
        if ref is None or ref() is not x or then != version or not self.share:
            first = name
        base = self._base.setdefault(name, first)
        if base not in (name, first):
            raise ValueError(f"{name} had the same input as {base} before, and has not now: "
                             "collect with share=False")
        if first == name:
            self._seen[id(x)] = (weakref.ref(x), version, name)
        return base

    # --- rows of an input ----------------------------------------------------------------------

    def _rows(self, name: str, x: Any) -> _Rows:
        mask = self._mask()
        shape = tuple(mask.shape) if mask is not None else self._ids
        if x.numel() == 0:  # an expert without tokens
            return _Rows(x.reshape(0, x.shape[-1]), None, 0, 0)
        if x.dim() == 1:
            x = x[None]
        if x.dim() == 2:
            if shape is None:  # no model of sequences: every row stands alone
                return _Rows(x, x, int(x.shape[0]), 1)
            if x.shape[0] != shape[0] * shape[1] or _EXPERT.match(name):
                if mask is not None and not bool(mask.all()):
                    raise ValueError(f"{name} is given {x.shape[0]} tokens of {shape[0]} × "
                                     f"{shape[1]}: which of them are padding is not known")
                return _Rows(x, None, shape[0], shape[1])
            x = x.reshape(*shape, x.shape[-1])
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        if mask is None or bool(mask.all()):
            return _Rows(x.reshape(-1, x.shape[-1]), x[:, -1], int(x.shape[0]), int(x.shape[1]))
        if tuple(mask.shape) != tuple(x.shape[:2]):
            raise ValueError(f"the attention mask is {tuple(mask.shape)}, the input of {name} "
                             f"{tuple(x.shape)}")
        keep = mask.to(x.device)
        some = keep.any(1)
        at = x.shape[1] - 1 - keep.flip(1).to(torch.uint8).argmax(1)
        last = x[torch.arange(x.shape[0], device=x.device), at][some]
        return _Rows(x[keep], last, int(some.sum()), int(keep.sum(1).max()))

    def _mask(self) -> Any:
        mask = self.attention_mask
        if mask is None:
            return None
        if not torch.is_tensor(mask) or mask.dim() != 2:
            raise ValueError("an attention mask is [sequences, tokens]")
        return mask != 0

    # --- running -------------------------------------------------------------------------------

    def run(self, batch: Any) -> Any:
        """One forward pass. batch: a tensor, a tuple of arguments, or a mapping of keyword
        arguments, whose `attention_mask` says which tokens count; its tensors are moved to the
        device of the model. Returns what the model returns."""
        args, kwargs = arguments(self.model, batch)
        before = self.attention_mask, self.shape
        try:
            self.attention_mask = kwargs.get("attention_mask", before[0])
            self.shape = _token_shape(kwargs.get("input_ids")) or before[1]
            return self.model(*args, **kwargs)
        finally:
            self.attention_mask, self.shape = before

    # --- results -------------------------------------------------------------------------------

    def aliases(self) -> Dict[str, str]:
        """{module: module whose statistics are its own, too}. Raises ValueError where one was
        called without the other."""
        out = {}
        for name, base in sorted(self._base.items()):
            if base == name:
                continue
            if self._uses[name] != self._sums[base].calls:
                raise ValueError(f"{name} has the same input as {base}, which was called "
                                 f"{self._sums[base].calls} times, it {self._uses[name]} times: "
                                 "collect with share=False")
            out[name] = base
        return out

    def expert_counts(self) -> Dict[str, List[int]]:
        """Tokens of each expert, by the module that holds `experts`."""
        out: Dict[str, List[int]] = {}
        for name in self._sums:
            match = _EXPERT.match(name)
            if match:
                counts = out.setdefault(match[1] or "", [])
                index = int(match[2])
                counts.extend([0] * (index + 1 - len(counts)))
                tokens = self._sums[self._base.get(name, name)].tokens
                counts[index] = max(counts[index], tokens)
        return out

    def tensors(self) -> Dict[str, Any]:
        """All statistics by their names in the file. Raises ValueError where an input was not
        finite, and what aliases() raises."""
        aliases = self.aliases()
        out: Dict[str, Any] = {}
        for name, sums in self._sums.items():
            if name in aliases:
                continue
            for kind, value in sums.tensors():
                if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                    raise ValueError(f"the input of {name} is not finite: {kind}")
                out[f"{name}.{kind}"] = value
        for holder, counts in self.expert_counts().items():
            key = f"{holder}.expert_count" if holder else "expert_count"
            out[key] = torch.tensor(counts, dtype=torch.float64)
        return out

    def metadata(self) -> Dict[str, str]:
        """What the file says of itself."""
        sums = [s for s in self._sums.values() if s.calls]
        return {"stats_version": "1", "mode": self.mode,
                "n_seq": str(max((s.sequences for s in sums), default=0)),
                "seq_len": str(max((s.length for s in sums), default=0)),
                "dtype": ",".join(sorted({s.dtype for s in sums})),
                "torch_version": str(torch.__version__),
                "aliases": json.dumps(self.aliases(), sort_keys=True)}

    def save(self, path: StrPath, metadata: Optional[Mapping[str, str]] = None) -> None:
        """Write all as safetensors, whole or not at all. metadata: more of it, such as model,
        dataset and tokenizer. Raises what tensors() and safetensors.write() raise."""
        safetensors.write(path, {
            name: to_safetensors(value)
            for name, value in self.tensors().items()}, {**self.metadata(), **(metadata or {})})


def collect(model: Any, batches: Iterable[Any], path: Optional[StrPath] = None,
            stats: Collection[str] = DEFAULT, *, metadata: Optional[Mapping[str, str]] = None,
            modules: Modules = None, xlast_limit: int = XLAST_LIMIT, mode: str = "dense",
            prefix: str = "", share: bool = True, offload: bool = False) -> Collector:
    """Run a model over batches (as Collector.run() takes them), in evaluation mode and without
    gradients, and write the statistics to `path`, if given. Parameters as of Collector; returns
    the collector."""
    with evaluating(model), torch.no_grad(), \
            Collector(model, stats, modules=modules, xlast_limit=xlast_limit, mode=mode,
                      prefix=prefix, share=share, offload=offload) as c:
        for batch in batches:
            c.run(batch)
    if path is not None:
        c.save(path, metadata)
    return c


def arguments(model: Any, batch: Any) -> Tuple[List[Any], Dict[str, Any]]:
    """Positional and keyword arguments of a batch, as Collector.run() takes it, its tensors on the
    device of the model."""
    first: Any = next(iter(model.parameters()), None)

    def moved(value: Any) -> Any:
        return value.to(first.device) if first is not None and torch.is_tensor(value) else value

    if isinstance(batch, Mapping):
        return [], {k: moved(v) for k, v in batch.items()}
    return [moved(v) for v in (batch if isinstance(batch, (tuple, list)) else [batch])], {}


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """In evaluation mode; then every module as it was."""
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was in training:
            module.training = was


def _select(model: Any, modules: Modules) -> Iterator[Tuple[str, Any]]:
    missing = set()
    if modules is None:
        chosen: Callable[[str, Any], bool] = _default
    elif isinstance(modules, str):
        pattern = re.compile(modules)
        chosen = lambda name, module: bool(pattern.search(name)) and is_linear(module)  # noqa: E731
    elif callable(modules):
        chosen = modules
    else:
        names = set(modules)
        missing = set(names)
        chosen = lambda name, module: name in names  # noqa: E731
    for name, module in model.named_modules():
        if name and chosen(name, module):
            missing.discard(name)
            yield name, module
    if missing:
        raise ValueError(f"no such module: {', '.join(sorted(missing))}")


def clean(name: str) -> str:
    """The name of a module without what wrappers put into it."""
    return _WRAPPERS.sub("", name)


def is_linear(module: Any) -> bool:
    """Linear, or Conv1D of transformers."""
    # transformers' Conv1D is known by its name: a Linear with its weight transposed.
    weight: Any = getattr(module, "weight", None)
    return isinstance(module, torch.nn.Linear) or (
        type(module).__name__ == "Conv1D" and torch.is_tensor(weight) and weight.dim() == 2)


def _default(name: str, module: Any) -> bool:
    return bool(_IN_BLOCK.search(name)) and is_linear(module)


def _token_shape(ids: Any) -> Any:
    """[sequences, tokens] of a batch of token ids; None for anything else."""
    if torch.is_tensor(ids) and ids.dim() == 2 and not ids.is_floating_point():
        return tuple(ids.shape)
    return None


def _is_inference(x: Any) -> bool:
    return bool(x.is_inference())


@contextlib.contextmanager
def _exact(device_type: str) -> Iterator[None]:
    """float32 means float32: no TF32, no bfloat16 inside of matrix products, no autocast."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        if device_type in ("cpu", "cuda"):
            with torch.autocast(device_type, enabled=False):
                yield
        else:
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _bytes(value: Any) -> Callable[[], memoryview]:
    def view() -> memoryview:
        plain = value.detach().cpu().contiguous()
        length = plain.numel() * plain.element_size()
        memory = (ctypes.c_ubyte * length).from_address(plain.data_ptr() if length else id(plain))
        setattr(memory, "owner", plain)  # it lives as long as the view
        return memoryview(memory)
    return view


def to_safetensors(value: Any) -> safetensors.Tensor:
    """A tensor of torch, to be written."""
    return safetensors.Tensor(_DTYPES[value.dtype], tuple(value.shape), _bytes(value))


def from_safetensors(tensor: safetensors.Tensor) -> Any:
    """As a tensor of torch, which shares the memory of one that was read."""
    dtype = next(k for k, v in _DTYPES.items() if v == tensor.dtype)
    data = tensor.data() if callable(tensor.data) else tensor.data
    return torch.frombuffer(data, dtype=dtype).view(*tensor.shape) if len(data) \
        else torch.empty(*tensor.shape, dtype=dtype)
