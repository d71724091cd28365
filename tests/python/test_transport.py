"""Which requests are tried again, and when: against a server that does as it is told."""

import email.utils
import socket
import threading
import time

import pytest

import spectrald
from spectrald import Client, transport

OK = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
LOST = b""  # the connection is closed without an answer


def refusal(status, code, *headers):
    body = b'{"status": %d, "code": "%s", "detail": "no"}' % (status, code.encode())
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Type: application/problem+json",
             b"Content-Length: %d" % len(body), *(h.encode() for h in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def more(conn):
    data = conn.recv(65536)
    assert data, "the request ends early"
    return data


class Script:
    """Answers one request a connection, with the next of `replies`."""

    def __init__(self, replies, says_so=True):
        self.replies, self.requests = list(replies), []
        self.close = b"\r\nConnection: close\r\n" if says_so else b"\r\n"
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for reply in self.replies:
            conn, _ = self.socket.accept()
            conn.settimeout(10)
            with conn:
                self.requests.append(self.read(conn))
                if reply:
                    conn.sendall(reply.replace(b"\r\n", self.close, 1))

    @staticmethod
    def read(conn):
        data = b""
        while b"\r\n\r\n" not in data:
            data += more(conn)
        head, _, body = data.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        while len(body) < int(fields.get("Content-Length", 0)):
            body += more(conn)
        return head.split(b"\r\n")[0].decode(), fields, body

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join(10)
        self.socket.close()
        assert not self.thread.is_alive(), "fewer requests than replies"


@pytest.fixture
def judged():
    """These replies are no spectrald's."""


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """The pauses that were made, without making them."""
    out = []
    monkeypatch.setattr(transport.time, "sleep", out.append)
    return out


def test_busy_is_tried_again_after_what_the_server_says(pauses):
    with Script([refusal(503, "busy", "Retry-After: 7"), refusal(429, "x", "Retry-After: 1"),
                 OK]) as s:
        assert Client(s.url).request("GET", "/x").json() == {}
    assert pauses == [7.0, 1.0] and len(s.requests) == 3


def test_busy_comes_out_when_the_tries_are_over(pauses):
    with Script([refusal(503, "busy", "Retry-After: 0")] * 3) as s:
        with pytest.raises(spectrald.Busy) as e:
            Client(s.url, retries=2).request("GET", "/x")
    assert len(pauses) == 2 and e.value.retry_after == 0


def test_a_pause_may_be_a_date():
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    for text, low, high in ((date, 90, 100), ("7", 7, 7), ("Thu, 01 Jan 1970 00:00:09 GMT", 0, 0)):
        assert low <= transport.retry_after({"Retry-After": text}) <= high
    assert transport.retry_after({"Retry-After": "soon"}) is None is transport.retry_after({})


def test_a_very_long_pause_is_the_callers_business(pauses):
    with Script([refusal(503, "busy", "Retry-After: 3600")]) as s:
        with pytest.raises(spectrald.Busy) as e:
            Client(s.url).request("GET", "/x")
    assert not pauses and e.value.retry_after == 3600


@pytest.mark.parametrize("reply, kind", [
    (refusal(503, "busy"), spectrald.Busy), (refusal(500, "internal"), spectrald.ServerError),
    (refusal(409, "conflict"), spectrald.Conflict), (refusal(400, "x"), spectrald.InvalidRequest)])
def test_other_refusals_are_final(reply, kind, pauses):
    with Script([reply]) as s:
        with pytest.raises(kind):
            Client(s.url).request("GET", "/x")
    assert not pauses


def test_what_carries_a_key_is_repeated_with_the_same_key(pauses):
    """The second try meets the first, still under way; the third is answered."""
    with Script([LOST, refusal(409, "in_flight", "Retry-After: 1"), OK]) as s:
        Client(s.url).create_job({"kind": "analyze", "source": {"path": "x"}})
    keys = {fields["Idempotency-Key"] for _, fields, _ in s.requests}
    assert len(keys) == 1 and len(s.requests) == 3
    assert len({body for _, _, body in s.requests}) == 1


def test_a_post_without_a_key_is_sent_once(pauses):
    with Script([LOST]) as s:
        with pytest.raises(spectrald.TransportError):
            Client(s.url).request("POST", "/v1/jobs", json_body={})
    assert len(s.requests) == 1 and not pauses


def test_a_kept_connection_that_was_closed_is_replaced_at_once(pauses):
    with Script([OK, OK], says_so=False) as s:
        c = Client(s.url)
        assert c.request("GET", "/x").json() == c.request("GET", "/x").json() == {}
    assert pauses in ([], [0.0])


def test_an_upload_is_sent_again_from_its_beginning(tmp_path, pauses):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"0123456789" * 1000)
    with Script([LOST, refusal(507, "insufficient_storage")]) as s:
        with pytest.raises(spectrald.ServerError):
            Client(s.url).create_upload(path)
    assert [body for _, _, body in s.requests] == [path.read_bytes()] * 2


def test_what_a_broken_delete_had_done_is_done(pauses):
    with Script([LOST, refusal(404, "not_found")]) as s:
        Client(s.url).delete_job("job_x")
    with Script([refusal(404, "not_found")]) as s:
        with pytest.raises(spectrald.NotFound):
            Client(s.url).delete_job("job_x")


def test_silence_ends_with_the_timeout(pauses):
    with socket.create_server(("127.0.0.1", 0)) as s:
        with pytest.raises(spectrald.TransportError, match="timed out"):
            Client(f"http://127.0.0.1:{s.getsockname()[1]}", timeout=0.2).get_liveness()
    assert not pauses


def test_a_refusal_that_is_no_problem_document():
    with Script([b"HTTP/1.1 502 Bad\r\nContent-Length: 6\r\n\r\n<html>"]) as s:
        with pytest.raises(spectrald.ServerError) as e:
            Client(s.url).request("GET", "/x")
    assert e.value.code == "" and e.value.status == 502


def job(state, version):
    body = b'{"id": "job_x", "state": "%s", "version": %d, "error": null, "reason": null}' % (
        state.encode(), version)
    return b"HTTP/1.1 200 OK\r\nETag: \"%d\"\r\nContent-Length: %d\r\n\r\n" % (
        version, len(body)) + body


def test_waiting_asks_for_the_end_and_events_for_changes(pauses):
    with Script([job("queued", 1), job("running", 2), job("succeeded", 3)]) as s:
        assert Client(s.url).wait("job_x")["version"] == 3
    assert [fields.get("Prefer") for _, fields, _ in s.requests] == [None, "wait=30", "wait=30"]
    assert not any("If-None-Match" in fields for _, fields, _ in s.requests)
    assert len(pauses) == 1  # the server did not wait, though it was asked to
    pauses.clear()
    same = b"HTTP/1.1 304 Not Modified\r\n\r\n"
    with Script([job("queued", 1), same, job("running", 2), job("failed", 3)]) as s:
        states = [e["state"] for e in Client(s.url).events("job_x")]
    assert states == ["queued", "running", "failed"] and len(pauses) == 1
    assert [f.get("If-None-Match") for _, f, _ in s.requests] == [None, '"1"', '"1"', '"2"']
    with Script([job("running", 1), job("cancelled", 2)]) as s:
        with pytest.raises(spectrald.JobFailed, match="job_x cancelled: no reason given"):
            Client(s.url).wait("job_x")
    with Script([job("running", 1)]) as s:
        with pytest.raises(spectrald.WaitTimeout):
            Client(s.url).wait("job_x", timeout=0)


def test_the_token_is_sent():
    with Script([OK]) as s:
        Client(s.url, token="abc").request("GET", "/x")
    assert s.requests[0][1]["Authorization"] == "Bearer abc"


def test_names_are_encoded_into_the_path():
    with Script([OK, OK]) as s:
        c = Client(s.url + "/behind/")
        c.get_layer("ana_x", "a/b c")
        c.patch_job("job_x/../y", {})
    assert s.requests[0][0] == "GET /behind/v1/analyses/ana_x/layers/a%2Fb%20c HTTP/1.1"
    assert s.requests[1][0] == "PATCH /behind/v1/jobs/job_x%2F..%2Fy HTTP/1.1"
    with pytest.raises(ValueError):
        c.get_job("")
