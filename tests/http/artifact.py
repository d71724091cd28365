"""Artifacts as jobs leave them: a record in state.db, files beside it."""

import hashlib
import json
import os
import sqlite3
import time

from daemon import Daemon

DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def ident(prefix, n):
    text = ""
    for _ in range(26):
        text = DIGITS[n % 32] + text
        n //= 32
    return prefix + text


def b2(data):
    return hashlib.blake2b(data).hexdigest()[:64]


def put(d, n, files, created=None, expires=0, ours=True, path=None, more=None):
    """A record and its files; returns the id. `created`: seconds ago."""
    art = ident("art_", n)
    path = path or os.path.join(d.state, "artifacts", art)
    created_ms = int((time.time() - (created or 60)) * 1000)
    os.makedirs(path)
    for name, data in files.items():
        with open(os.path.join(path, name), "wb") as f:
            f.write(data)
        os.utime(os.path.join(path, name), (created_ms / 1000 - 1,) * 2)
    manifest = {"files": [{"name": k, "bytes": len(v), "blake2b": b2(v)} for k, v in files.items()],
                **(more or {})}
    with sqlite3.connect(os.path.join(d.state, "state.db")) as db:
        db.execute("INSERT INTO artifacts(id, job, owner, name, path, ours, manifest, nbytes, n_files,"
                   " created_ms, expires_ms) VALUES(?,?,?,?,?,?,?,?,?,?,?)",
                   (art, ident("job_", n), "local", f"model-{n}", path, int(ours),
                    json.dumps(manifest, separators=(",", ":")), sum(map(len, files.values())),
                    len(files), created_ms, expires))
    db.close()
    return art


def prepared(tmp, *flags, **more):
    """A daemon that has run once, so that its databases are there, and is stopped."""
    d = Daemon(str(tmp), *flags, **more)
    with d:
        pass
    return d
