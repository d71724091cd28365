"""What can go wrong. Everything here is a SpectraldError."""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, Optional, Type

from .types import Job


class SpectraldError(Exception):
    """Any failure of a call."""


class TransportError(SpectraldError):
    """No answer: no connection, a connection that broke, or nothing within the timeout."""


class ApiError(SpectraldError):
    """The server refused or failed (`application/problem+json`).

    status     HTTP status
    code       the stable kind of the problem, such as "not_found"; "" when it was no problem document
    detail     one sentence
    pointer    JSON pointer of the field at fault, such as "#/params/types", or None
    parameter  query parameter or header at fault, or None
    request_id what the server's log calls the request, or None
    retry_after  seconds the server asks to wait, or None
    """

    def __init__(self, status: int, problem: Mapping[str, Any],
                 retry_after: Optional[float] = None) -> None:
        first: Dict[str, Any] = dict((problem.get("errors") or [{}])[0])
        self.status = status
        self.code = str(problem.get("code", ""))
        self.title = str(problem.get("title", ""))
        self.detail = str(problem.get("detail", ""))
        self.pointer: Optional[str] = first.get("pointer")
        self.parameter: Optional[str] = first.get("parameter")
        self.request_id: Optional[str] = problem.get("instance")
        self.retry_after = retry_after
        text = self.detail or self.title or "no problem document"
        where = self.pointer or self.parameter
        if where:
            text += f" ({where}: {first.get('detail', '')})"
        super().__init__(f"{status} {self.code}: {text}")


class InvalidRequest(ApiError):
    """400, 405, 406, 413, 414, 415, 421, 422: the request cannot be met as it is."""


class Forbidden(ApiError):
    """401, 403."""


class NotFound(ApiError):
    """404, and 410 for what is no longer cached."""


class Conflict(ApiError):
    """409, 412, 428: not in the present state of the resource."""


class Busy(ApiError):
    """429, 503: later, and after as many tries as were allowed."""


class ServerError(ApiError):
    """Any other 5xx."""


class JobFailed(SpectraldError):
    """A job that was waited for failed or was cancelled; `job` is its last state."""

    def __init__(self, job: Job) -> None:
        self.job = job
        error = job["error"]
        super().__init__(f"{job['id']} {job['state']}: "
                         f"{error['detail'] if error else job['reason'] or 'no reason given'}")


class WaitTimeout(SpectraldError, TimeoutError):
    """A job was not over in time; `job` is its last state. It goes on."""

    def __init__(self, job: Job) -> None:
        self.job = job
        super().__init__(f"{job['id']} is still {job['state']}")


KINDS: Dict[int, Type[ApiError]] = {
    401: Forbidden, 403: Forbidden, 404: NotFound, 410: NotFound, 409: Conflict, 412: Conflict,
    428: Conflict, 429: Busy, 503: Busy}


def api_error(status: int, body: bytes, retry_after: Optional[float]) -> ApiError:
    """The exception that a reply with a status of 400 or more stands for."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    kind: Type[ApiError] = ServerError if status >= 500 else InvalidRequest
    return KINDS.get(status, kind)(status, problem, retry_after)
