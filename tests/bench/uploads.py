#!/usr/bin/env python3
"""Upload throughput against nginx's dav module, in one run on the same cores. Not a test.

    python3 tests/bench/uploads.py BUILD-DIR [GIGABYTES [RUNS [DIRECTORY]]]

curl sends the same file by PUT to nginx (one worker, which writes it to a temporary file and
renames it) and by POST to spectrald (which also hashes it with SHA-256 and syncs it before it
answers), in turns; the best run of each counts. DIRECTORY is where both write, by default where
temporary files are; on a tmpfs, such as /dev/shm, the disk plays no part. One more upload of five
times the size shows memory and the longest stall of the event loop. Needs curl, nginx-light.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/http"))
os.environ["SPECTRALD_BIN"] = os.path.abspath(sys.argv[1]) + "/daemon/main/spectrald"
from daemon import Daemon, hold_port  # noqa: E402

GIGABYTES = float(sys.argv[2]) if len(sys.argv) > 2 else 1
RUNS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
WHERE = sys.argv[4] if len(sys.argv) > 4 else None
TARGET = 0.5  # of nginx's throughput

NGINX = """
user root;
worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    server {{
        listen 127.0.0.1:{port};
        root {dir}/www;
        location / {{ dav_methods PUT DELETE; }}
    }}
}}
"""


def curl(*args):
    """Bytes a second, by curl's own clock, and the reply."""
    out = subprocess.run(["curl", "-sS", "-o", "-", "-w", "\n%{http_code} %{size_upload} %{time_total}", *args],
                         capture_output=True, text=True, check=True).stdout
    body, last = out.rsplit("\n", 1)
    code, size, seconds = last.split()
    assert code in ("201", "204"), out
    return float(size) / float(seconds), body


def rss(pid):
    with open(f"/proc/{pid}/status") as f:
        fields = dict(line.split(":", 1) for line in f)
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024


def stall(d):
    text = d.get("/metrics").body.decode()
    return next(float(line.split()[1]) for line in text.splitlines()
                if line.startswith("spectrald_loop_stall_seconds "))


def send(d, path):
    rate, body = curl("-H", "Content-Type: application/octet-stream", "-X", "POST", "-T", path,
                      f"http://127.0.0.1:{d.port}/v1/uploads")
    assert d.request("DELETE", "/v1/uploads/" + json.loads(body)["id"]).status == 204
    return rate


def main():
    with tempfile.TemporaryDirectory(dir=WHERE) as tmp:
        os.makedirs(f"{tmp}/www")
        held = hold_port()
        port = held.getsockname()[1]
        with open(f"{tmp}/nginx.conf", "w") as f:
            f.write(NGINX.format(dir=tmp, port=port))
        path = f"{tmp}/body.bin"
        with open(path, "wb") as f:
            for _ in range(int(GIGABYTES * 1000)):
                f.write(os.urandom(1000000))
            os.fsync(f.fileno())
        nginx = subprocess.Popen(["nginx", "-c", f"{tmp}/nginx.conf"])
        try:
            with Daemon(tmp) as d:
                compare(d, path, port)
                large(d, path)
        finally:
            nginx.terminate()
            nginx.wait()


def compare(d, path, port):
    theirs, ours = [], []
    for _ in range(RUNS):
        theirs.append(curl("-T", path, f"http://127.0.0.1:{port}/x.bin")[0])
        curl("-X", "DELETE", f"http://127.0.0.1:{port}/x.bin")
        ours.append(send(d, path))
        time.sleep(1)
    ratio = max(ours) / max(theirs)
    print(f"{os.cpu_count()} processors; {GIGABYTES:g} GB, best of {RUNS}: "
          f"nginx {max(theirs) / 1e6:.0f} MB/s, spectrald {max(ours) / 1e6:.0f} MB/s, "
          f"ratio {ratio:.2f}; wanted at least {TARGET}")
    sha = subprocess.run(["openssl", "speed", "-evp", "sha256", "-bytes", "65536", "-seconds", "1"],
                         capture_output=True, text=True).stdout.split()
    print(f"SHA-256 alone, one thread: {float(sha[-1].rstrip('k')) / 1e3:.0f} MB/s")


def large(d, path):
    """The same bytes five times over, as one body of unknown length."""
    before = rss(d.proc.pid)[0]
    start = time.time()
    feed = subprocess.Popen(["sh", "-c", 'for i in 1 2 3 4 5; do cat "$0"; done', path],
                            stdout=subprocess.PIPE)
    body = subprocess.run(["curl", "-sS", "-X", "POST", "-H", "Content-Type: application/octet-stream",
                           "-T", "-", f"http://127.0.0.1:{d.port}/v1/uploads"],
                          stdin=feed.stdout, capture_output=True, text=True, check=True).stdout
    seconds = time.time() - start
    after, peak = rss(d.proc.pid)
    size = json.loads(body)["bytes"]
    print(f"{size / 1e9:g} GB in one body: {size / seconds / 1e6:.0f} MB/s; memory of the control process "
          f"{before:.0f} MB before, {after:.0f} MB after, {peak:.0f} MB at most; longest stall of "
          f"its loop {stall(d) * 1e3:.0f} ms")


main()
