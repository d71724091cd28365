"""How much each expert of a mixture adds: what `"method": "expert_drop"` goes by.

    from spectrald import experts
    experts.collect(model, batches, "qwen3.experts.safetensors")

For every module that holds `experts` and a `gate` or `router`:

    MODULE.expert_saliency_sum  F64 [E]   sum of g(t) |f(x_t)| over the tokens sent to each expert,
                                          g the router's weight, f the expert's output
    MODULE.expert_count         F64 [E]   how many tokens those were

Experts are run a second time, on the tokens that the router chose them for, so a pass takes up to
twice as long. Padding does not count where a batch has an `attention_mask`. Needs PyTorch.

How routers answer differs. Understood are logits [tokens, E] (softmax, then the `top_k` or
`num_experts_per_tok` largest, which add up to 1 unless the module's `norm_topk_prob` is false), and
tuples with indices and weights [tokens, k] or all weights [tokens, E]. For others give `route`. How
experts are called differs, too: understood are a ModuleList, and one module of all, called with
tokens [n, C], indices [n, 1] and weights [n, 1]. For others give `apply`.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional

import torch

from . import hooks, safetensors
from .bodies import StrPath

#: (module, what its router returned) -> weights [tokens, E], 0 where an expert was not chosen
Route = Callable[[Any, Any], Any]
#: (module, number of the expert, tokens [n, C]) -> its outputs [n, C], not weighted
Apply = Callable[[Any, int, Any], Any]

_CHOSEN = ("top_k", "num_experts_per_tok", "num_experts_per_token")


class _Layer:
    def __init__(self, name: str, module: Any, router: Any) -> None:
        self.name, self.module, self.router = name, module, router
        self.routed: Any = None
        self.total: Any = None
        self.count: Any = None

    def add(self, tokens: Any, weights: Any, apply: Apply) -> None:
        if self.total is None:
            self.total = torch.zeros(weights.shape[1], dtype=torch.float64)
            self.count = torch.zeros(weights.shape[1], dtype=torch.float64)
        for j in range(int(weights.shape[1])):
            chosen = (weights[:, j] > 0).nonzero()[:, 0]
            if chosen.numel() == 0:
                continue
            norms = apply(self.module, j, tokens[chosen]).float().norm(dim=-1).double()
            self.total[j] += (norms * weights[chosen, j].double()).sum().cpu()
            self.count[j] += chosen.numel()


def route(module: Any, answer: Any) -> Any:
    """Weights [tokens, E] from what the router of a module returned. Raises ValueError where that
    is of no form above."""
    parts = [p.reshape(-1, p.shape[-1]) for p in (answer if isinstance(answer, tuple) else (answer,))
             if torch.is_tensor(p)]
    indices = next((p for p in parts if not p.is_floating_point()), None)
    n = _number_of_experts(module)
    if indices is None:
        if len(parts) != 1:
            raise ValueError(f"{type(module).__name__}: the router returned {len(parts)} tensors and "
                             "no indices: give route")
        return _of_logits(module, parts[0])
    weights = next((p for p in parts if p.is_floating_point() and p.shape == indices.shape), None)
    whole = [p for p in parts if p.is_floating_point() and p.shape[-1] == n]
    if weights is None and not whole:
        raise ValueError(f"{type(module).__name__}: the router returned indices without weights: "
                         "give route")
    if weights is None:
        weights = whole[-1].gather(1, indices)
    out = torch.zeros(indices.shape[0], n, dtype=weights.dtype, device=weights.device)
    return out.scatter_(1, indices, weights)


def _of_logits(module: Any, logits: Any) -> Any:
    places = (module, getattr(module, "gate", None), getattr(module, "router", None),
              getattr(module, "config", None))
    k = next((int(getattr(p, name)) for p in places for name in _CHOSEN
              if isinstance(getattr(p, name, None), int)), None)
    if k is None:
        raise ValueError(f"{type(module).__name__} does not say how many experts a token goes to: "
                         "give route")
    all_of = torch.softmax(logits.float(), -1)
    weights, indices = all_of.topk(k, -1)
    if getattr(module, "norm_topk_prob", True):
        weights = weights / weights.sum(-1, keepdim=True)
    return torch.zeros_like(all_of).scatter_(1, indices, weights)


def apply(module: Any, expert: int, tokens: Any) -> Any:
    """Outputs of one expert of a module."""
    if isinstance(module.experts, torch.nn.ModuleList):
        return module.experts[expert](tokens)
    one = torch.ones(tokens.shape[0], 1, dtype=tokens.dtype, device=tokens.device)
    return module.experts(tokens, torch.full_like(one, expert, dtype=torch.int64), one)


def _router(module: Any) -> Any:
    """The router of a module that holds experts; None for any other."""
    parts = [getattr(module, name, None) for name in ("gate", "router")]
    if not isinstance(getattr(module, "experts", None), torch.nn.Module):
        return None
    return next((p for p in parts if isinstance(p, torch.nn.Module)), None)


def _number_of_experts(module: Any) -> int:
    held = module.experts
    if isinstance(held, torch.nn.ModuleList):
        return len(held)
    return int(next(p for p in held.parameters()).shape[0])


def collect(model: Any, batches: Iterable[Any], path: Optional[StrPath] = None, *,
            route: Route = route, apply: Apply = apply, prefix: str = "",
            metadata: Optional[Mapping[str, str]] = None) -> Dict[str, Any]:
    """Run a model over batches (as hooks.Collector.run() takes them), in evaluation mode and
    without gradients; the tensors by their names in the file, which is written to `path`, if given.
    prefix: put before every name, where `model` is a part of what the checkpoint holds. Raises
    ValueError: there are no mixtures of experts, or one was never run, or what `route` raises."""
    layers = [_Layer(prefix + hooks.clean(name), module, router)
              for name, module in model.named_modules()
              for router in (_router(module),) if router is not None]
    if not layers:
        raise ValueError("the model has no module with experts and a gate or router")
    mask: List[Any] = [None]
    handles = [h for layer in layers for h in _watch(layer, route, apply, mask)]
    try:
        with hooks.evaluating(model), torch.no_grad():
            for batch in batches:
                mask[0] = batch.get("attention_mask") if isinstance(batch, Mapping) else None
                args, kwargs = hooks.arguments(model, batch)
                model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    out: Dict[str, Any] = {}
    for layer in layers:
        if layer.total is None:
            raise ValueError(f"{layer.name} was never run")
        dot = "." if layer.name else ""
        out[f"{layer.name}{dot}expert_saliency_sum"] = layer.total
        out[f"{layer.name}{dot}expert_count"] = layer.count
    if path is not None:
        safetensors.write(path, {name: hooks.to_safetensors(value) for name, value in out.items()},
                          {"stats_version": "1", "torch_version": str(torch.__version__),
                           **(metadata or {})})
    return out


def _watch(layer: _Layer, route: Route, apply: Apply, mask: List[Any]) -> List[Any]:
    def routed(module: Any, args: Any, answer: Any) -> None:
        layer.routed = answer

    def over(module: Any, args: Any, answer: Any) -> None:
        if layer.routed is None:  # not by its own router: an expert that is run again has none
            return
        answer, layer.routed = layer.routed, None
        x: Any = args[0]
        tokens = x.reshape(-1, x.shape[-1])
        weights = route(layer.module, answer)
        if mask[0] is not None:
            keep = mask[0].reshape(-1).to(tokens.device) != 0
            if keep.shape[0] != tokens.shape[0]:
                raise ValueError(f"{layer.name} is given {tokens.shape[0]} tokens, the attention "
                                 f"mask has {keep.shape[0]}")
            weights = weights * keep[:, None]
        layer.add(tokens, weights, apply)

    return [layer.router.register_forward_hook(routed), layer.module.register_forward_hook(over)]

