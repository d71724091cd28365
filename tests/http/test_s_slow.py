"""Slow, rude and many clients. They speak to the socket themselves, since what they send is hardly
HTTP; that the others are served meanwhile is the point."""

import json
import os
import resource
import socket
import time

import pytest

from daemon import Daemon

pytestmark = pytest.mark.alone

JOB = json.dumps({"kind": "analyze", "source": {"path": "manlm.safetensors"}}).encode()
HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def connect(d):
    return socket.create_connection(("127.0.0.1", d.port), timeout=20)


def read_all(s):
    """What comes until the server closes; a reset is an end, too."""
    data = b""
    while True:
        try:
            part = s.recv(65536)
        except ConnectionResetError:
            return data
        if not part:
            return data
        data += part


def read_head(s):
    data = b""
    while b"\r\n\r\n" not in data:
        part = s.recv(65536)
        assert part, data
        data += part
    return data


def drip(clients, seconds, every=0.25):
    """Send each client's piece, {name: (socket, piece)}, again and again; {name: seconds until the
    server hung up}."""
    start, ended = time.time(), {}
    for s, _ in clients.values():
        s.setblocking(False)
    while time.time() - start < seconds and len(ended) < len(clients):
        for name, (s, piece) in clients.items():
            try:
                if name not in ended:
                    s.send(piece)
                    if s.recv(65536) == b"":
                        ended[name] = time.time() - start
            except BlockingIOError:
                pass
            except OSError:
                ended[name] = time.time() - start
        time.sleep(every)
    return ended


def rss(d):
    """Resident bytes of the control process."""
    with open(f"/proc/{d.proc.pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def strict(tmp_path):
    """Two seconds for everything."""
    with Daemon(str(tmp_path), "--request-timeout", "2", "--idle-timeout", "2") as d:
        yield d
    assert "bug: assertion" not in d.log_text() and "Sanitizer" not in d.log_text()


# --- slow ------------------------------------------------------------------------------------


def test_dripping_clients_are_cut_off(strict):
    """Activity does not keep a request alive: it must be there whole within --request-timeout."""
    cases = {"a header without end": (b"GET /livez HTTP/1.1\r\n", b"X"),
             "headers without end": (b"GET /livez HTTP/1.1\r\n", b"X-A: b\r\n"),
             "a body": (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
             "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
             "empty lines": (b"\r\n", b"\r\n")}
    clients = {}
    for name, (begin, piece) in cases.items():
        clients[name] = (connect(strict), piece)
        clients[name][0].sendall(begin)
    ended = drip(clients, 10)
    assert ended.keys() == cases.keys() and max(ended.values()) < 8, ended
    assert strict.get("/livez").status == 200
    assert strict.get("/v1/jobs").json["jobs"] == []


def test_silence_is_cut_off(strict):
    silent = [connect(strict) for _ in range(20)]
    start = time.time()
    for s in silent:
        assert read_all(s) == b""
    assert time.time() - start < 8


def test_others_are_served_while_many_drip(strict):
    slow = [connect(strict) for _ in range(200)]
    for s in slow:
        s.sendall(b"GET /livez HTTP/1.1\r\nX-Slow: ")
    worst = 0
    for _ in range(50):
        start = time.time()
        assert strict.get("/livez").status == 200
        worst = max(worst, time.time() - start)
    assert worst < 0.5, worst


def test_slow_reader_of_a_large_reply(daemon):
    """One that asks for much and reads nothing holds up nobody."""
    s = connect(daemon)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.sendall(b"GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
    for _ in range(20):
        start = time.time()
        assert daemon.get("/livez").status == 200
        assert time.time() - start < 0.5
    s.close()
    assert daemon.get("/livez").status == 200


# --- half-closed and pipelined ---------------------------------------------------------------


def test_reply_reaches_a_client_that_has_said_all(daemon):
    s = connect(daemon)
    s.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    s.shutdown(socket.SHUT_WR)
    assert read_all(s).count(b"HTTP/1.1 200") == 3


def test_half_close_in_the_middle_of_a_request(daemon):
    clients = []
    for sent in (b"GET /livez", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n",
                 HEAD + b"Content-Length: 100\r\n\r\n{",
                 HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"):
        clients.append(connect(daemon))
        clients[-1].sendall(sent)
        clients[-1].shutdown(socket.SHUT_WR)
    for s in clients:
        assert b" 200 " not in read_all(s)
    assert daemon.get("/v1/jobs").json["jobs"] == []


def test_pipelined_replies_come_in_order(daemon):
    def get(path):
        return b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path
    post = HEAD + b"Prefer: wait=20\r\nContent-Length: %d\r\n\r\n" % len(JOB) + JOB
    s = connect(daemon)
    s.sendall(get(b"/livez") + post + get(b"/nothing") + get(b"/v1/jobs") + get(b"/livez?x=1") +
              b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    data = read_all(s)
    codes = [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]
    assert codes == [200, 200, 404, 200, 400, 200]
    assert data.index(b'"kind":"analyze"') < data.index(b"/problems/not-found")


def test_a_refused_body_does_not_become_a_request(daemon):
    """What stands in the body of a refused request is dropped, not read as the next request."""
    inner = b"DELETE /v1/jobs/job_00000000000000000000000000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    s = connect(daemon)
    s.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
              b"Content-Length: %d\r\n\r\n" % len(inner) + inner +
              b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    data = read_all(s)
    assert [int(p[:3]) for p in data.split(b"HTTP/1.1 ")[1:]] in ([415, 200], [415])


# --- too much --------------------------------------------------------------------------------


def test_body_over_the_limit_with_expect(daemon):
    """The refusal comes before any of the 20 MB."""
    s = connect(daemon)
    s.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 20971520\r\n\r\n")
    head = read_head(s)
    assert head.startswith(b"HTTP/1.1 413 ") and b"application/problem+json" in head


def test_body_within_the_limit_with_expect(daemon):
    s = connect(daemon)
    s.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(JOB))
    assert read_head(s).startswith(b"HTTP/1.1 100 ")
    s.sendall(JOB)
    assert read_head(s).startswith(b"HTTP/1.1 20")


@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_the_limit_without_expect(daemon, chunked):
    """Either the refusal or a closed connection; never 20 MB in memory."""
    before = rss(daemon)
    piece = b"x" * 65536
    s = connect(daemon)
    s.sendall(HEAD + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else
                      b"Content-Length: 20971520\r\n\r\n"))
    sent = 0
    try:
        while sent < 20 << 20:
            s.sendall(b"10000\r\n" + piece + b"\r\n" if chunked else piece)
            sent += len(piece)
        if chunked:
            s.sendall(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        assert not chunked  # a body of unknown size is read to its end, so that the 413 is seen
    answer = read_all_or_one(s)
    assert answer[:13] in (b"", b"HTTP/1.1 413 "), answer[:200]
    assert answer or not chunked
    assert rss(daemon) - before < 8 << 20
    assert daemon.get("/livez").status == 200


def read_all_or_one(s):
    s.settimeout(3)
    try:
        return read_all(s)
    except TimeoutError:
        return b""


# --- many ------------------------------------------------------------------------------------


def connections(d):
    for line in d.get("/metrics").body.decode().splitlines():
        if line.startswith("spectrald_http_connections "):
            return int(line.split()[1])


def test_two_thousand_idle_connections(tmp_path):
    n = 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < n + 500:
        pytest.skip(f"only {hard} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, n + 500), hard))
    try:
        with Daemon(str(tmp_path), "--idle-timeout", "60", "--request-timeout", "120") as d:
            before = rss(d)
            idle = [connect(d) for _ in range(n)]
            for s in idle[::2]:
                s.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
            times = []
            for _ in range(200):
                start = time.time()
                assert d.get("/livez").status == 200
                times.append(time.time() - start)
            assert connections(d) > n
            grown = (rss(d) - before) / n
            print(f"worst of 200: {max(times) * 1000:.1f} ms, {grown / 1024:.1f} KiB a connection")
            assert sorted(times)[197] < 0.1 and max(times) < 1
            assert grown < 80 << 10
            for s in idle:
                s.close()
            end = time.time() + 20
            while connections(d) > 5 and time.time() < end:
                time.sleep(0.1)
            assert connections(d) <= 5
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
