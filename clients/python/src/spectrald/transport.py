"""One request and its reply over HTTP, on TCP or a unix socket, tried again where that is safe.

Connections are kept and used again; any number of threads may use one Transport.
"""

from __future__ import annotations

import email.utils
import gzip
import http.client
import json
import random
import socket
import ssl
import time
import urllib.parse
from email.message import Message
from typing import (Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Protocol,
                    Sequence, Tuple, Union)

from .errors import TransportError, api_error

Query = Sequence[Tuple[str, Union[None, str, int, bool]]]

PAUSE_FIRST_S = 0.25
PAUSE_MAX_S = 30.0


class Reply(NamedTuple):
    """A reply with a status below 400."""
    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none."""
        return json.loads(self.body)


class Body(Protocol):
    """A request body of known length that can be sent more than once."""
    length: int

    def chunks(self) -> Iterator[bytes]:
        """The body from its beginning. What this raises ends the request, untried again."""


class _Lost(Exception):
    """The connection failed; `cause` says how."""

    def __init__(self, cause: Exception, reused: bool) -> None:
        super().__init__(str(cause))
        self.cause, self.reused = cause, reused


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Transport:
    """base_url: `http://HOST[:PORT]`, `https://…`, or `unix:/path/of/the/socket`.
    timeout: seconds without a sign of the server; waiting that was asked for comes on top.
    retries: how often a request is tried again; 0: never."""

    def __init__(self, base_url: str, token: Optional[str], timeout: float, retries: int) -> None:
        self.timeout, self.retries = timeout, retries
        self.idle: List[http.client.HTTPConnection] = []
        self.prefix = ""
        self.unix = base_url[len("unix:"):] if base_url.startswith("unix:") else None
        self.url = urllib.parse.urlsplit("http://localhost" if self.unix else base_url)
        if self.url.scheme not in ("http", "https") or not self.url.hostname or self.unix == "":
            raise ValueError(f"neither http://…, https://… nor unix:/path: {base_url!r}")
        if self.url.username or self.url.query or self.url.fragment:
            raise ValueError("a base URL has no user, query or fragment")
        self.prefix = self.url.path.rstrip("/")
        self.far = not self.unix and self.url.hostname not in ("localhost", "127.0.0.1", "::1")
        if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
            raise ValueError("a token is of visible ASCII characters")
        self.token = token

    def close(self) -> None:
        """Close the connections that are kept. The transport can still be used."""
        while self.idle:
            self.idle.pop().close()

    def request(self, method: str, path: str, *, query: Query = (),
                headers: Optional[Mapping[str, str]] = None, body: Union[None, bytes, Body] = None,
                wait: float = 0, repeatable: Optional[bool] = None) -> Reply:
        """Send a request; return its reply when the status is below 400, else raise ApiError.

        wait: seconds the server may take on top of the timeout.
        repeatable: whether sending it twice does what sending it once does; by default GET, HEAD,
        PUT and DELETE do, and whatever has an Idempotency-Key. Only such requests are sent again
        after a connection broke. 429 and 503 with Retry-After say that nothing was done.
        Raises TransportError when there is no reply.
        """
        sent = {k: v for k, v in (headers or {}).items()}
        if repeatable is None:
            repeatable = method in ("GET", "HEAD", "PUT", "DELETE") or "Idempotency-Key" in sent
        pairs = [(k, str(v).lower() if isinstance(v, bool) else str(v))
                 for k, v in query if v is not None]
        target = self.prefix + path + ("?" + urllib.parse.urlencode(pairs) if pairs else "")
        lost = False
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            try:
                reply = self._once(method, target, sent, body, wait)
            except _Lost as e:
                if last or not repeatable or isinstance(e.cause, TimeoutError):
                    raise TransportError(f"{method} {path}: {e.cause or type(e.cause).__name__}") \
                        from e.cause
                lost = True
                # A kept connection that the server had closed says nothing about the server.
                pause = 0.0 if e.reused else backoff(attempt)
            else:
                if reply.status < 400:
                    return reply
                if reply.status == 404 and method == "DELETE" and lost:
                    return Reply(204, reply.headers, b"")  # the try that broke had done it
                after = retry_after(reply.headers)
                error = api_error(reply.status, reply.body, after)
                again = after is not None and (
                    reply.status in (429, 503) or error.code == "in_flight")
                if last or not again:
                    raise error
                pause = max(after or 0.0, backoff(attempt))
                if pause > PAUSE_MAX_S:
                    raise error
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _connection(self) -> Tuple[http.client.HTTPConnection, bool]:
        if self.idle:
            try:
                return self.idle.pop(), True
            except IndexError:  # another thread was faster
                pass
        host, port = self.url.hostname or "", self.url.port
        if self.unix:
            return _UnixConnection(self.unix, self.timeout), False
        if self.url.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self.timeout,
                                               context=ssl.create_default_context()), False
        return http.client.HTTPConnection(host, port or 80, timeout=self.timeout), False

    def _once(self, method: str, target: str, headers: Mapping[str, str],
              body: Union[None, bytes, Body], wait: float) -> Reply:
        conn, reused = self._connection()
        kept = False
        try:
            chunks: Iterable[bytes] = ()
            all_headers: Dict[str, str] = dict(headers)
            if self.token is not None:
                all_headers["Authorization"] = "Bearer " + self.token
            if self.far:
                all_headers.setdefault("Accept-Encoding", "gzip")
            if body is not None:
                chunks = [body] if isinstance(body, bytes) else body.chunks()
                all_headers["Content-Length"] = \
                    str(len(body) if isinstance(body, bytes) else body.length)
            elif method in ("POST", "PATCH", "PUT"):
                all_headers["Content-Length"] = "0"
            try:
                if conn.sock is None:
                    conn.connect()
                assert conn.sock is not None
                conn.sock.settimeout(self.timeout + wait)
                conn.putrequest(method, target, skip_accept_encoding=True)
                for name, value in all_headers.items():
                    conn.putheader(name, value)
                conn.endheaders()
            except (OSError, http.client.HTTPException) as e:
                raise _Lost(e, reused) from e
            whole = self._send(conn, chunks)
            try:
                response = conn.getresponse()
                text = response.read()
            except (OSError, http.client.HTTPException) as e:
                raise _Lost(e, reused) from e
            kept = whole and not response.will_close
            if response.headers.get("Content-Encoding") == "gzip":
                text = gzip.decompress(text)
            return Reply(response.status, response.headers, text)
        finally:
            if kept:
                self.idle.append(conn)
            else:
                conn.close()

    def stream(self, path: str) -> Iterator[bytes]:
        """The body of GET `path` as it comes, on a connection of its own, tried once. Raises
        ApiError, or TransportError also when the body ends early."""
        conn, reused = self._connection()
        try:
            if reused:  # it may have been closed by now
                conn.close()
            try:
                conn.request("GET", self.prefix + path, headers={} if self.token is None else
                             {"Authorization": "Bearer " + self.token})
                response = conn.getresponse()
                if response.status >= 400:
                    raise api_error(response.status, response.read(), None)
                left = int(response.headers.get("Content-Length", 0))
                while left > 0:
                    piece = response.read(min(left, 1 << 20))
                    if not piece:
                        raise TransportError(f"GET {path}: the body ended {left} bytes early")
                    left -= len(piece)
                    yield piece
            except (OSError, http.client.HTTPException) as e:
                raise TransportError(f"GET {path}: {e or type(e).__name__}") from e
        finally:
            conn.close()

    @staticmethod
    def _send(conn: http.client.HTTPConnection, chunks: Iterable[bytes]) -> bool:
        """False when the server would not take all: then it has answered, and says why."""
        for chunk in chunks:
            try:
                conn.send(chunk)
            except TimeoutError as e:
                raise _Lost(e, False) from e
            except OSError:
                return False
        return True


def backoff(attempt: int) -> float:
    """Seconds before the next try; random, so that many clients do not come back at once."""
    return min(PAUSE_FIRST_S * 2.0 ** attempt, PAUSE_MAX_S) * random.uniform(0.5, 1.0)


def retry_after(headers: Message) -> Optional[float]:
    """Seconds of the header Retry-After, which may be a date; None without one."""
    text: Optional[str] = headers.get("Retry-After")
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    date = email.utils.parsedate_tz(text)
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())
