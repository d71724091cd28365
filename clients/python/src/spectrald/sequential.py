"""Prunes a PyTorch model block by block, each by what the pruned blocks before it put out.

    from spectrald import Client, sequential
    reports = sequential.prune(model, batches, Client(), "llama-7b",
                               {"method": "sparsegpt", "sparsity": 0.6})

`model` is the checkpoint that the server knows as `source`, and is pruned in place. Statistics of
a block go to the server, its pruned matrices come back and take the place of the dense ones; then
the block is run again, for the inputs of the next one. Every block is run twice and its inputs are
kept; the rest of the model is run once. Afterwards save the model as always.

For models that call the modules of one ModuleList one after the other, each with what the one
before returned: the first argument, and the first thing returned, is the hidden state.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import (Any, Callable, Collection, Dict, Iterable, Iterator, List, Mapping, NamedTuple,
                    Optional, Tuple, Union, cast)

import torch

from . import hooks, safetensors
from . import types as t
from .client import Client, source_of
from .errors import Conflict

_KINDS: Dict[str, Tuple[str, ...]] = {
    "magnitude": (), "wanda": ("sumsq", "count"), "wanda_variant": ("sumsq", "count"),
    "ria": ("sumsq", "count"), "trim": ("sumsq", "count", "xlast"),
    "dsnot": ("sumsq", "sum", "count"), "sparsegpt": ("sumsq", "count", "gram")}
# What a block remembers of one run must not meet it in the next.
_STATE: Dict[str, Any] = {"use_cache": False, "past_key_value": None, "past_key_values": None,
                          "layer_past": None}


class _Call(NamedTuple):
    """How a block is called for one batch; its first argument is the hidden state."""
    args: Tuple[Any, ...]
    kwargs: Dict[str, Any]
    mask: Any

    @property
    def hidden(self) -> Any:
        return self.args[0] if self.args else next(iter(self.kwargs.values()))

    def of(self, hidden: Any) -> _Call:
        """The same with another hidden state."""
        if self.args:
            return self._replace(args=(hidden, *self.args[1:]))
        return self._replace(kwargs={**self.kwargs, next(iter(self.kwargs)): hidden})

    def run(self, block: Any) -> Any:
        """The hidden state that the block returns."""
        out = block(*self.args, **self.kwargs)
        return out[0] if isinstance(out, (tuple, list)) else out


def prune(model: Any, batches: Iterable[Any], client: Client,
          source: Union[str, t.Source, t.Upload], params: Mapping[str, Any], *,
          kinds: Optional[Collection[str]] = None, layers: Optional[str] = None, prefix: str = "",
          offload: bool = False, progress: Optional[Callable[[Dict[str, Any]], object]] = None
          ) -> List[Dict[str, Any]]:
    """Prune `model` in place; what the server reports of each block (Client.get_artifact()).

    batches   as Collector.run() takes them
    source    the checkpoint: a path on the server, an upload or a Source
    params    PruneParams without `stats`, `blocks` and `output`. One plan serves all blocks; those
              in which it prunes nothing stay as they are
    kinds     which statistics to collect, of hooks.ALL; default: what the method reads
    layers    the name of the ModuleList; default: the only one that is not inside of another
    prefix    put before every name, where `model` is a part of what the checkpoint holds
    offload   keep Gram matrices in main memory
    progress  called with the report of each block

    When this raises, blocks that came before are pruned, the others are not. Raises what
    Client.create_job() and Client.wait() raise, and ValueError for models that are not such a list
    of blocks.
    """
    name, blocks = _blocks(model, layers)
    plan = _plan(client, source, params)
    todo = {tensor["block"] for tensor in plan["tensors"]}
    wanted = _KINDS.get(params["method"], hooks.ALL) if kinds is None else kinds
    turn = _Turn(client, source, {**{k: v for k, v in params.items() if k != "sparsity"},
                                  "plan": plan["id"]}, wanted, offload)
    reports = []
    with hooks.evaluating(model), torch.no_grad():
        calls = _record(model, blocks, batches)
        hidden = [call.hidden for call in calls[0]]
        for i, block in enumerate(blocks):
            here = [call.of(x) for call, x in zip(calls[i], hidden)]
            full = f"{prefix}{hooks.clean(name)}.{i}"
            if full in todo:
                reports.append(turn.take(block, full, here))
                if progress:
                    progress(reports[-1])
            hidden = [call.run(block) for call in here]
    return reports


# --- the model ----------------------------------------------------------------------------------


def _blocks(model: Any, layers: Optional[str]) -> Tuple[str, List[Any]]:
    lists = {name: list(module) for name, module in model.named_modules()
             if isinstance(module, torch.nn.ModuleList) and len(module)}
    if layers is None:
        lists = {name: found for name, found in lists.items()
                 if not any(name.startswith(other + ".") for other in lists)}
    else:
        lists = {name: found for name, found in lists.items() if name == layers}
    if len(lists) != 1:
        raise ValueError(f"expected one ModuleList, found {', '.join(sorted(lists)) or 'none'}: "
                         "see the argument layers")
    return next(iter(lists.items()))


class _Enough(Exception):
    """All blocks were called: what comes after them need not be."""


def _record(model: Any, blocks: List[Any], batches: Iterable[Any]) -> List[List[_Call]]:
    """How each block is called for each batch. Only the first block really runs, once, to see what
    a block returns; of the others' calls everything but the hidden state is as in earnest."""
    calls: List[List[_Call]] = [[] for _ in blocks]
    mask: Any = None
    form: Any = None

    def stand_in(i: int, forward: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            nonlocal form
            kwargs = {k: _STATE.get(k, v) for k, v in kwargs.items()}
            call = _Call(args, kwargs, mask)
            calls[i].append(call)
            if i == len(blocks) - 1:
                raise _Enough
            form = forward(*args, **kwargs) if form is None else form
            return (call.hidden, *form[1:]) if isinstance(form, (tuple, list)) else call.hidden
        return called

    with contextlib.ExitStack() as stack:
        for i, block in enumerate(blocks):
            stack.enter_context(_replaced(block, stand_in(i, block.forward)))
        for n, batch in enumerate(batches):
            args, kwargs = hooks.arguments(model, batch)
            mask = kwargs.get("attention_mask")
            with contextlib.suppress(_Enough):
                model(*args, **kwargs)
            if any(len(made) != n + 1 for made in calls):
                raise ValueError("the model does not call its blocks one after the other")
    if not calls[0]:
        raise ValueError("there are no batches")
    return calls


@contextlib.contextmanager
def _replaced(block: Any, forward: Any) -> Iterator[None]:
    """The method of one module, for a while."""
    own = block.__dict__.get("forward")
    block.forward = forward
    try:
        yield
    finally:
        if own is None:
            del block.forward
        else:
            block.forward = own


# --- the server ---------------------------------------------------------------------------------


def _plan(client: Client, source: Union[str, t.Source, t.Upload],
          params: Mapping[str, Any]) -> t.Plan:
    plan = params.get("plan")
    if isinstance(plan, str):
        return client.get_plan(plan)
    if plan is None:
        plan = {"method": "uniform", "sparsity": params["sparsity"], "limits": {"max": 1}}
    return client.create_plan(cast(t.PlanRequest, {**plan, "source": source_of(source)}))


class _Turn:
    """Has one block pruned by the server."""

    def __init__(self, client: Client, source: Union[str, t.Source, t.Upload],
                 params: Dict[str, Any], kinds: Collection[str], offload: bool) -> None:
        self.client, self.source, self.params = client, source_of(source), params
        self.kinds, self.offload = kinds, offload

    def take(self, block: Any, full: str, calls: List[_Call]) -> Dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            params: Dict[str, Any] = {**self.params, "blocks": [full],
                                      "output": {"format": "tensors"}}
            if self.kinds:
                path = os.path.join(folder, "stats.safetensors")
                self._collect(block, full, calls).save(path)
                upload = self.client.create_upload(path)["id"]
                os.unlink(path)
                stack.callback(self._forget, upload)
                params["stats"] = {"upload": upload}
            job = self.client.wait(self.client.create_job(
                {"kind": "prune", "source": self.source, "params": cast(t.PruneParams, params)},
                wait=60))
            artifact = (job["result"] or {}).get("artifact", "")
            stack.callback(self.client.delete_artifact, artifact)
            report = self.client.get_artifact(artifact)
            names = {tensor["tensor"] for tensor in report["tensors"]}
            for file in report["files"]:
                if file["name"].endswith(".safetensors"):
                    path = os.path.join(folder, "pruned.safetensors")
                    self.client.get_artifact_file(artifact, file["name"], path)
                    _load(block, full, path, names)
        return report

    def _collect(self, block: Any, full: str, calls: List[_Call]) -> hooks.Collector:
        with hooks.Collector(block, self.kinds, modules=lambda _, module: hooks.is_linear(module),
                             mode="sequential", prefix=full + ".", offload=self.offload) as c:
            for call in calls:
                x = call.hidden
                c.shape = tuple(x.shape[:2]) if x.dim() == 3 else None
                c.attention_mask = call.mask
                call.run(block)
        return c

    def _forget(self, upload: str) -> None:
        with contextlib.suppress(Conflict):  # a job that nobody waits for any more
            self.client.delete_upload(upload)


def _load(block: Any, full: str, path: str, names: Collection[str]) -> None:
    """Put what a file has of these tensors into the block's parameters."""
    parameters = {f"{full}.{hooks.clean(name)}": p for name, p in block.named_parameters()}
    for name, tensor in safetensors.read(path).items():
        if name not in names:
            continue
        parameter = parameters.get(name)
        if parameter is None or tuple(parameter.shape) != tuple(tensor.shape):
            raise ValueError(f"the model has no parameter {name} of shape {list(tensor.shape)}")
        parameter.copy_(hooks.from_safetensors(tensor))
