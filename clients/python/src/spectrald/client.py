"""The calls of the server as methods.

A method is called as the operation in openapi.yaml, in snake_case, and takes its path and query
parameters by their names. Lists are iterators over the entries of all pages. Replies are the
server's JSON as dicts; spectrald.types names their members.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import uuid
from types import TracebackType
from typing import (TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence,
                    Tuple, Type, Union, cast, overload)
from urllib.parse import parse_qsl, quote, urlsplit

from . import types as t
from .bodies import DirectoryBody, FileBody, StrPath
from .errors import JobFailed, NotFound, SpectraldError, WaitTimeout
from .transport import Query, Reply, Transport

if TYPE_CHECKING:
    import numpy
    import numpy.typing

DOWNLOAD_PIECE = 16 << 20
POLL_S = 30.0  # of one long poll; the server allows 60
OVER = ("succeeded", "failed", "cancelled")
LabelFilter = Union[str, Sequence[str]]


class Client:
    """A spectrald server.

    base_url  `http://HOST[:PORT]`, `https://…`, or `unix:/path/of/the/socket`
    token     sent as `Authorization: Bearer`, where a server or a proxy before it wants one
    timeout   seconds without an answer after which a call gives up; waiting asked for comes on top
    retries   how often a call is tried again, with growing pauses, after 429 or 503 with
              Retry-After, and after a broken connection where repeating does no harm: calls that
              make something carry an Idempotency-Key, made up unless given

    Every method raises an ApiError when the server refuses, TransportError when it cannot be
    reached. Threads may share a client.
    """

    def __init__(self, base_url: str = "http://127.0.0.1:8437", token: Optional[str] = None,
                 timeout: float = 60.0, retries: int = 4) -> None:
        self._http = Transport(base_url, token, timeout, retries)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        self._http.close()

    def request(self, method: str, path: str, *, query: Query = (), json_body: Any = None,
                headers: Optional[Mapping[str, str]] = None, wait: float = 0,
                repeatable: Optional[bool] = None) -> Reply:
        """Any call, for what has no method here: `path` from the root, percent-encoded.
        Returns status, headers and body; the other parameters are Transport.request()'s."""
        all_headers = dict(headers or {})
        body = None
        if json_body is not None:
            body = json.dumps(json_body, allow_nan=False).encode()
            all_headers.setdefault("Content-Type", "application/json")
        if wait:
            all_headers["Prefer"] = f"wait={min(60, int(wait) or 1)}"
        return self._http.request(method, path, query=query, headers=all_headers, body=body,
                                  wait=wait, repeatable=repeatable)

    # --- jobs ----------------------------------------------------------------------------------

    def create_job(self, request: t.JobRequest, *, wait: float = 0,
                   idempotency_key: Optional[str] = None) -> t.Job:
        """Start a job; its state after at most `wait` seconds (60 at most)."""
        return cast(t.Job, self._make("/v1/jobs", request, wait, idempotency_key).json())

    def list_jobs(self, *, state: Optional[str] = None, kind: Optional[str] = None,
                  label: LabelFilter = (), page_size: Optional[int] = None,
                  page_token: Optional[str] = None) -> Iterator[t.Job]:
        """Jobs, newest first. label: `key:value` or `key`; of several, all must hold."""
        return self._pages("/v1/jobs", "jobs", [("state", state), ("kind", kind), *_labels(label)],
                           page_size, page_token)

    def get_job(self, job: str, *, wait: float = 0) -> t.Job:
        """State and progress of a job; with `wait` (seconds, 60 at most) as soon as it is over."""
        return cast(t.Job, self.request("GET", _path("jobs", job), wait=wait).json())

    def patch_job(self, job: str, labels: Mapping[str, Optional[str]], *,
                  if_match: str = "*") -> t.Job:
        """Merge labels; None removes one. if_match: the ETag the change is made from."""
        return cast(t.Job, self._patch(_path("jobs", job), labels, if_match))

    def delete_job(self, job: str) -> None:
        """Forget a job that is over; its analysis stays. Conflict while it is not."""
        self.request("DELETE", _path("jobs", job))

    def cancel_job(self, job: str, *, wait: float = 0) -> t.Job:
        """Stop a job; its state after at most `wait` seconds. Repeating does no harm."""
        return cast(t.Job, self.request("POST", _path("jobs", job) + ":cancel", wait=wait,
                                        repeatable=True).json())

    def events(self, job: str, *, timeout: Optional[float] = None) -> Iterator[t.Job]:
        """The job now and after every change, until it is over; by long poll.
        Raises WaitTimeout when it is not over within `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        reply = self.request("GET", _path("jobs", job))
        while True:
            state = cast(t.Job, reply.json())
            yield state
            if state["state"] in OVER:
                return
            tag = {"If-None-Match": reply.headers.get("ETag", "")}
            reply = self._poll(job, state, tag, end)
            while reply.status == 304:
                reply = self._poll(job, state, tag, end)

    def _poll(self, job: str, state: t.Job, headers: Mapping[str, str],
              end: Optional[float]) -> Reply:
        """One long poll. Raises WaitTimeout, with `state`, when the time is over."""
        begun = time.monotonic()
        left = POLL_S if end is None else min(POLL_S, end - begun)
        if left <= 0:
            raise WaitTimeout(state)
        reply = self.request("GET", _path("jobs", job), wait=left, headers=headers)
        early = time.monotonic() - begun < 0.5
        if early and (reply.status == 304 or not headers and reply.json()["state"] not in OVER):
            time.sleep(min(1.0, left))  # a proxy or server that does not wait
        return reply

    def wait(self, job: Union[str, t.Job], *, timeout: Optional[float] = None, check: bool = True,
             progress: Optional[Callable[[t.Job], object]] = None) -> t.Job:
        """Wait until a job is over; its last state.

        timeout   seconds, None: as long as it takes; then WaitTimeout, and the job goes on
        check     raise JobFailed unless it succeeded
        progress  called with the job after every change
        """
        name = job if isinstance(job, str) else job["id"]
        last = self.get_job(name) if isinstance(job, str) else job
        end = None if timeout is None else time.monotonic() + timeout
        if progress:
            for last in self.events(name, timeout=timeout):
                progress(last)
        while last["state"] not in OVER:
            last = cast(t.Job, self._poll(name, last, {}, end).json())
        if check and last["state"] != "succeeded":
            raise JobFailed(last)
        return last

    def analyze(self, source: Union[str, t.Source, t.Upload], *,
                params: Optional[t.AnalyzeParams] = None, labels: Optional[t.Labels] = None,
                timeout: Optional[float] = None, idempotency_key: Optional[str] = None,
                progress: Optional[Callable[[t.Job], object]] = None) -> t.Analysis:
        """Analyse a model and wait for the result. source: a path on the server, an upload (as
        create_upload() returns it), or a Source. Raises what create_job() and wait() raise."""
        request: t.JobRequest = {"kind": "analyze", "source": source_of(source)}
        if params is not None:
            request["params"] = params
        if labels is not None:
            request["labels"] = labels
        first = self.create_job(request, wait=0 if progress else _wait(timeout),
                                idempotency_key=idempotency_key)
        job = self.wait(first, timeout=timeout, progress=progress)
        return self.get_analysis(_analysis_of(job))

    # --- uploads -------------------------------------------------------------------------------

    def create_upload(self, path: StrPath, *, name: Optional[str] = None,
                      idempotency_key: Optional[str] = None) -> t.Upload:
        """Send a file, or a directory's *.safetensors and *.json as one tar; read as it is sent,
        in pieces of 1 MiB. name: for people; by default that of the file or directory.

        The digest of what arrived is compared with that of what was sent: SpectraldError, and the
        upload is deleted, when they differ. A local file that cannot be read raises OSError.
        """
        body = DirectoryBody(path) if os.path.isdir(path) else FileBody(path)
        shown = name or os.path.basename(os.path.abspath(path))
        # The answer comes when all is on disk: 20 MB/s is a slow one.
        reply = self._http.request(
            "POST", "/v1/uploads", query=[("name", shown)], body=body, wait=body.length / 20e6,
            headers={"Content-Type": body.content_type, "Idempotency-Key": _key(idempotency_key)})
        upload = cast(t.Upload, reply.json())
        if upload["sha256"] != body.sha256:
            self.delete_upload(upload["id"])
            raise SpectraldError(f"{os.fspath(path)} arrived damaged, or changed meanwhile")
        return upload

    def list_uploads(self, *, page_size: Optional[int] = None,
                     page_token: Optional[str] = None) -> Iterator[t.Upload]:
        """Uploads, newest first."""
        return self._pages("/v1/uploads", "uploads", (), page_size, page_token)

    def get_upload(self, upload: str) -> t.Upload:
        """What is known of an upload."""
        return cast(t.Upload, self.request("GET", _path("uploads", upload)).json())

    def delete_upload(self, upload: str) -> None:
        """Forget an upload. Conflict while a job uses it."""
        self.request("DELETE", _path("uploads", upload))

    # --- artifacts -----------------------------------------------------------------------------

    def list_artifacts(self, *, page_size: Optional[int] = None,
                       page_token: Optional[str] = None) -> Iterator[t.ArtifactSummary]:
        """Checkpoints that jobs wrote, newest first."""
        return self._pages("/v1/artifacts", "artifacts", (), page_size, page_token)

    def get_artifact(self, artifact: str) -> Dict[str, Any]:
        """The members of an ArtifactSummary, `files` (name, bytes, blake2b), and what the job
        reports beside them."""
        return cast(Dict[str, Any], self.request("GET", _path("artifacts", artifact)).json())

    def delete_artifact(self, artifact: str) -> None:
        """Remove an artifact; files under an output root stay."""
        self.request("DELETE", _path("artifacts", artifact))

    def get_artifact_file(self, artifact: str, name: str, path: StrPath) -> None:
        """Write one file of an artifact to `path`, in pieces, so that a broken connection costs one
        piece. Raises SpectraldError when it is not what the job wrote; then `path` is removed."""
        files = {f["name"]: f for f in self.get_artifact(artifact)["files"]}
        size = files[name]["bytes"] if name in files else 1  # the server says that there is none
        digest, tag = hashlib.blake2b(), ""
        try:
            with open(path, "wb") as out:
                while out.tell() < size:
                    at = out.tell()
                    reply = self.request(
                        "GET", _path("artifacts", artifact, "files", name),
                        headers={"Range": f"bytes={at}-{min(at + DOWNLOAD_PIECE, size) - 1}",
                                 **({"If-Range": tag} if tag else {})})
                    if reply.status != 206 or not reply.body:
                        raise SpectraldError(f"{name} changed while it was downloaded")
                    tag = reply.headers.get("ETag", "")
                    digest.update(reply.body)
                    out.write(reply.body)
            if digest.hexdigest()[:64] != files[name]["blake2b"]:
                raise SpectraldError(f"{name} is not what the job wrote")
        except BaseException:
            os.unlink(path)
            raise

    def get_artifact_tar(self, artifact: str, path: StrPath) -> None:
        """Write all files of an artifact to `path` as a tar archive, in one request that is not
        repeated. When it fails, `path` is removed."""
        try:
            with open(path, "wb") as out:
                for piece in self._http.stream(_path("artifacts", artifact, "tar")):
                    out.write(piece)
        except BaseException:
            os.unlink(path)
            raise

    # --- models --------------------------------------------------------------------------------

    def list_models(self, *, page_size: Optional[int] = None,
                    page_token: Optional[str] = None) -> Iterator[t.Model]:
        """Models that were seen, newest first."""
        return self._pages("/v1/models", "models", (), page_size, page_token)

    def get_model(self, model: str) -> t.Model:
        """A model by its id."""
        return cast(t.Model, self.request("GET", _path("models", model)).json())

    def list_tensors(self, model: str, *, columns: Sequence[str] = (), dtype: Optional[str] = None,
                     name: Optional[str] = None, page_size: Optional[int] = None,
                     page_token: Optional[str] = None) -> Iterator[t.Tensor]:
        """Tensors of a model, in natural order of names."""
        return self._pages(_path("models", model, "tensors"), "tensors",
                           [_columns(columns), ("dtype", dtype), ("name", name)],
                           page_size, page_token)

    def tensors_csv(self, model: str, *, columns: Sequence[str] = (), dtype: Optional[str] = None,
                    name: Optional[str] = None) -> str:
        """The same as CSV, with one line of names at the top."""
        return self._csv(_path("models", model, "tensors"),
                         [_columns(columns), ("dtype", dtype), ("name", name)])

    # --- analyses ------------------------------------------------------------------------------

    def list_analyses(self, *, model: Optional[str] = None, label: LabelFilter = (),
                      page_size: Optional[int] = None,
                      page_token: Optional[str] = None) -> Iterator[t.Analysis]:
        """Analyses, newest first. label: as for list_jobs()."""
        return self._pages("/v1/analyses", "analyses", [("model", model), *_labels(label)],
                           page_size, page_token)

    def get_analysis(self, analysis: str) -> t.Analysis:
        """Averages, counts and labels of an analysis."""
        return cast(t.Analysis, self.request("GET", _path("analyses", analysis)).json())

    def patch_analysis(self, analysis: str, labels: Mapping[str, Optional[str]], *,
                       if_match: str = "*") -> t.Analysis:
        """Merge labels; None removes one. if_match: the ETag the change is made from."""
        return cast(t.Analysis, self._patch(_path("analyses", analysis), labels, if_match))

    def list_layers(self, analysis: str, *, columns: Sequence[str] = (),
                    status: Optional[str] = None, layer_type: Optional[str] = None,
                    role: Optional[str] = None, block: Optional[str] = None,
                    name: Optional[str] = None, page_size: Optional[int] = None,
                    page_token: Optional[str] = None) -> Iterator[t.Layer]:
        """Rows of an analysis, skipped and failed ones too, in natural order of names."""
        query = _layer_query(columns, status, layer_type, role, block, name)
        return self._pages(_path("analyses", analysis, "layers"), "layers", query,
                           page_size, page_token)

    def layers_csv(self, analysis: str, *, columns: Sequence[str] = (),
                   status: Optional[str] = None, layer_type: Optional[str] = None,
                   role: Optional[str] = None, block: Optional[str] = None,
                   name: Optional[str] = None) -> str:
        """The same as CSV, with one line of names at the top."""
        return self._csv(_path("analyses", analysis, "layers"),
                         _layer_query(columns, status, layer_type, role, block, name))

    def get_layer(self, analysis: str, layer: Union[int, str]) -> t.Layer:
        """One row. layer: its layer_id or longname."""
        return cast(t.Layer, self.request(
            "GET", _path("analyses", analysis, "layers", str(layer))).json())

    @overload
    def get_esd(self, analysis: str, layer: Union[int, str]) -> t.Esd: ...

    @overload
    def get_esd(self, analysis: str, layer: Union[int, str], *, bins: int,
                scale: Optional[str] = None) -> t.EsdHistogram: ...

    @overload
    def get_esd(self, analysis: str, layer: Union[int, str], *, bins: Optional[int] = None,
                scale: str) -> t.EsdHistogram: ...

    def get_esd(self, analysis: str, layer: Union[int, str], *, bins: Optional[int] = None,
                scale: Optional[str] = None) -> Union[t.Esd, t.EsdHistogram]:
        """Eigenvalues of W'W of a layer, ascending; with `bins` (up to 1000) or `scale` ("log" or
        "linear") their histogram. NotFound when the layer has none, or it is no longer cached."""
        return cast(Union[t.Esd, t.EsdHistogram], self.request(
            "GET", _path("analyses", analysis, "layers", str(layer), "esd"),
            query=[("bins", bins), ("scale", scale)]).json())

    def eigenvalues(self, analysis: str,
                    layer: Union[int, str]) -> numpy.typing.NDArray[numpy.float64]:
        """The same as a NumPy array, sent as npy. Needs NumPy; get_esd()["evals"] does not."""
        import numpy
        reply = self.request("GET", _path("analyses", analysis, "layers", str(layer), "esd"),
                             query=[("format", "npy")])
        return cast("numpy.typing.NDArray[numpy.float64]",
                    numpy.load(io.BytesIO(reply.body), allow_pickle=False))

    def get_traps(self, analysis: str, layer: Union[int, str]) -> t.Traps:
        """Correlation traps of a layer, and which weights carry them. NotFound unless an analyze job
        was asked for `traps`."""
        return cast(t.Traps, self.request(
            "GET", _path("analyses", analysis, "layers", str(layer), "traps")).json())

    def get_layer_plot(self, analysis: str, layer: Union[int, str],
                       kind: Optional[str] = None) -> str:
        """A picture of a layer's spectrum as SVG: esd, esd_lin, mp, rand, erg or ks."""
        return self.request("GET", _path("analyses", analysis, "layers", str(layer), "plot.svg"),
                            query=[("kind", kind)]).body.decode()

    def get_analysis_plot(self, analysis: str, kind: Optional[str] = None) -> str:
        """A picture of all layers as SVG: alpha_hist, alpha_depth, alpha_D or scale_depth."""
        return self.request("GET", _path("analyses", analysis, "plot.svg"),
                            query=[("kind", kind)]).body.decode()

    def get_series(self, label: str, *, metric: Optional[str] = None, step: Optional[str] = None,
                   layer: Optional[str] = None, role: Optional[str] = None,
                   layer_type: Optional[str] = None, page_size: Optional[int] = None,
                   page_token: Optional[str] = None) -> Iterator[t.Run]:
        """A metric over the steps of runs: analyses with one value of the label are a run.
        label: `key:value`, or `key` for every value. step: the label that counts."""
        return self._pages("/v1/series", "series",
                           _series_query(label, metric, step, layer, role, layer_type),
                           page_size, page_token)

    def series_csv(self, label: str, *, metric: Optional[str] = None, step: Optional[str] = None,
                   layer: Optional[str] = None, role: Optional[str] = None,
                   layer_type: Optional[str] = None) -> str:
        """The same as CSV, with one line of names at the top."""
        return self._csv("/v1/series", _series_query(label, metric, step, layer, role, layer_type))

    def get_comparison(self, analyses: Sequence[str], *, metrics: Sequence[str] = (),
                       step: Optional[str] = None, changed: bool = False,
                       moved: Optional[int] = None, distances: bool = False) -> t.Comparison:
        """The same layers in 2 to 64 analyses, and what moved. step: the label whose number orders
        them. changed: only layers whose weights the last step changed. distances: also what is
        known of the distance between the weights."""
        return cast(t.Comparison, self.request(
            "GET", "/v1/comparisons",
            query=_comparison_query(analyses, metrics, step, changed, moved, distances)).json())

    def comparison_csv(self, analyses: Sequence[str], *, metrics: Sequence[str] = (),
                       step: Optional[str] = None, changed: bool = False,
                       distances: bool = False) -> str:
        """The same as CSV, a line for each layer and metric."""
        return self._csv("/v1/comparisons",
                         _comparison_query(analyses, metrics, step, changed, None, distances))

    def get_comparison_plot(self, analyses: Sequence[str], kind: Optional[str] = None, *,
                            metric: Optional[str] = None, step: Optional[str] = None) -> str:
        """A picture of several analyses as SVG: alpha_scatter, or trend (of a metric)."""
        return self.request("GET", "/v1/comparisons/plot.svg",
                            query=[("analyses", ",".join(analyses)), ("kind", kind),
                                   ("metric", metric), ("step", step)]).body.decode()

    def get_distances(self, distances: str) -> t.Distances:
        """What a job of kind distances found, all layers together."""
        return cast(t.Distances, self.request("GET", _path("distances", distances)).json())

    def list_distance_layers(self, distances: str, *, columns: Sequence[str] = (),
                             status: Optional[str] = None, layer_type: Optional[str] = None,
                             role: Optional[str] = None, block: Optional[str] = None,
                             name: Optional[str] = None, page_size: Optional[int] = None,
                             page_token: Optional[str] = None) -> Iterator[t.DistanceLayer]:
        """How far each layer is from that of the other model."""
        return self._pages(_path("distances", distances, "layers"), "layers",
                           _layer_query(columns, status, layer_type, role, block, name),
                           page_size, page_token)

    def distance_layers_csv(self, distances: str, *, columns: Sequence[str] = (),
                            status: Optional[str] = None, layer_type: Optional[str] = None,
                            role: Optional[str] = None, block: Optional[str] = None,
                            name: Optional[str] = None) -> str:
        """The same as CSV, with one line of names at the top."""
        return self._csv(_path("distances", distances, "layers"),
                         _layer_query(columns, status, layer_type, role, block, name))

    # --- decisions -----------------------------------------------------------------------------

    def create_schedule(self, request: t.ScheduleRequest, *, timeout: Optional[float] = None,
                        idempotency_key: Optional[str] = None) -> t.Schedule:
        """Learning rates and weight decays per layer. With a `source` it is analysed first, and
        that is waited for: what wait() raises, with `timeout` seconds."""
        return cast(t.Schedule, self._decide("/v1/schedules", cast(Dict[str, Any], request),
                                             timeout, idempotency_key))

    def allocate_experts(self, request: t.ExpertsRequest, *, timeout: Optional[float] = None,
                         idempotency_key: Optional[str] = None) -> t.Experts:
        """LoRA experts per block; waits as create_schedule()."""
        return cast(t.Experts, self._decide("/v1/experts", cast(Dict[str, Any], request),
                                            timeout, idempotency_key))

    def create_plan(self, request: t.PlanRequest, *, timeout: Optional[float] = None,
                    idempotency_key: Optional[str] = None) -> t.Plan:
        """Sparsities or bit widths per tensor. The same request has the same id and answer. Waits
        as create_schedule()."""
        return cast(t.Plan, self._decide("/v1/plans", cast(Dict[str, Any], request), timeout,
                                         idempotency_key))

    def compare_plans(self, request: t.PlanCompareRequest) -> t.PlanComparison:
        """Several plans of one target side by side, made by it if need be."""
        return cast(t.PlanComparison, self.request("POST", "/v1/plans:compare", json_body=request,
                                                   repeatable=True).json())

    def plans_svg(self, request: t.PlanCompareRequest) -> str:
        """The same as a picture: ratio against block."""
        return self.request("POST", "/v1/plans:compare", json_body=request, repeatable=True,
                            query=[("format", "svg")]).body.decode()

    def get_plan(self, plan: str) -> t.Plan:
        """A plan by its id."""
        return cast(t.Plan, self.request("GET", _path("plans", plan)).json())

    # --- diagnostics ---------------------------------------------------------------------------

    def diagnose_simpson(self, request: t.SimpsonRequest) -> t.Simpson:
        """Whether metrics order models the same way inside their groups and over all of them."""
        return cast(t.Simpson, self.request("POST", "/v1/diagnostics/simpson", json_body=request,
                                            repeatable=True).json())

    # --- operations ----------------------------------------------------------------------------

    def get_liveness(self) -> str:
        """Raises when the server does not live."""
        return self.request("GET", "/livez").body.decode()

    def get_readiness(self, *, verbose: Optional[bool] = None) -> str:
        """Raises Busy while the server is not ready; verbose: a line for every check."""
        return self.request("GET", "/readyz", query=[("verbose", verbose)]).body.decode()

    def get_metrics(self) -> str:
        """Metrics in the text format of Prometheus."""
        return self.request("GET", "/metrics").body.decode()

    def get_openapi(self) -> str:
        """The server's own openapi.yaml."""
        return self.request("GET", "/openapi.yaml").body.decode()

    # --- what the above share ------------------------------------------------------------------

    def _make(self, path: str, body: Any, wait: float, key: Optional[str]) -> Reply:
        return self.request("POST", path, json_body=body, wait=wait,
                            headers={"Idempotency-Key": _key(key)})

    def _patch(self, path: str, labels: Mapping[str, Optional[str]], if_match: str) -> Any:
        # A merge repeated is the same merge, but a tag fits once.
        return self.request("PATCH", path, json_body={"labels": dict(labels)},
                            headers={"If-Match": if_match,
                                     "Content-Type": "application/merge-patch+json"},
                            repeatable=if_match == "*").json()

    def _decide(self, path: str, request: Dict[str, Any], timeout: Optional[float],
                key: Optional[str]) -> Any:
        if "source" not in request:
            headers = {} if key is None else {"Idempotency-Key": key}
            return self.request("POST", path, json_body=request, headers=headers,
                                repeatable=True).json()
        reply = self._make(path, request, _wait(timeout), key)
        if reply.status != 202:
            return reply.json()
        job = self.wait(cast(t.Job, reply.json()), timeout=timeout)
        if job["result"] and "plan" in job["result"]:
            return self.get_plan(job["result"]["plan"])
        rest = {k: v for k, v in request.items() if k not in ("source", "params", "labels")}
        return self.request("POST", path, json_body={**rest, "analysis": _analysis_of(job)},
                            repeatable=True).json()

    def _pages(self, path: str, member: str, query: Query, page_size: Optional[int],
               page_token: Optional[str]) -> Iterator[Any]:
        while True:
            page = self.request("GET", path, query=[
                *query, ("page_size", page_size), ("page_token", page_token or None)]).json()
            yield from page[member]
            page_token = page["next_page_token"]
            if not page_token:
                return

    def _csv(self, path: str, query: Query) -> str:
        texts: List[str] = []
        full: Optional[Query] = [*query, ("format", "csv")]
        while full is not None:
            reply = self.request("GET", path, query=full)
            text = reply.body.decode()
            texts.append(text if not texts else text.partition("\n")[2])
            full = _next(reply.headers.get("Link"))
        return "".join(texts)


def source_of(source: Union[str, t.Source, t.Upload]) -> t.Source:
    """The member `source` of a request: of a path on the server, an upload or its id."""
    if isinstance(source, str):
        if source.startswith("upl_"):
            return {"upload": source}
        return {"path": source}
    if "id" in source:
        return {"upload": cast(t.Upload, source)["id"]}
    return cast(t.Source, source)


def _path(*parts: str) -> str:
    if not all(parts):
        raise ValueError("an id or a name is empty")
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _key(key: Optional[str]) -> str:
    return str(uuid.uuid4()) if key is None else key


def _wait(timeout: Optional[float]) -> float:
    return POLL_S if timeout is None else max(0.0, min(POLL_S, timeout))


def _labels(label: LabelFilter) -> List[Tuple[str, str]]:
    return [("label", one) for one in ([label] if isinstance(label, str) else label)]


def _columns(columns: Sequence[str]) -> Tuple[str, Optional[str]]:
    return "columns", (columns if isinstance(columns, str) else ",".join(columns)) or None


def _layer_query(columns: Sequence[str], status: Optional[str], layer_type: Optional[str],
                 role: Optional[str], block: Optional[str], name: Optional[str]) -> Query:
    return [_columns(columns), ("status", status), ("layer_type", layer_type), ("role", role),
            ("block", block), ("name", name)]


def _series_query(label: str, metric: Optional[str], step: Optional[str], layer: Optional[str],
                  role: Optional[str], layer_type: Optional[str]) -> Query:
    return [("label", label), ("metric", metric), ("step", step), ("layer", layer), ("role", role),
            ("layer_type", layer_type)]


def _comparison_query(analyses: Sequence[str], metrics: Sequence[str], step: Optional[str],
                      changed: bool, moved: Optional[int], distances: bool) -> Query:
    return [("analyses", ",".join(analyses)), ("metrics", ",".join(metrics) or None),
            ("step", step), ("changed", "true" if changed else None), ("moved", moved),
            ("distances", "true" if distances else None)]


def _next(link: Optional[str]) -> Optional[Query]:
    """The query of the next page, from the header Link."""
    for one in (link or "").split(", <"):
        target, _, rest = one.strip("<").partition(">")
        if 'rel="next"' in rest:
            return parse_qsl(urlsplit(target).query, keep_blank_values=True)
    return None


def _analysis_of(job: t.Job) -> str:
    result = job["result"]
    if not result or "analysis" not in result:
        raise NotFound(404, {"detail": f"{job['id']} has no analysis"})
    return result["analysis"]
