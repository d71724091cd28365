"""A daemon killed while a job writes files, and what of them must still be there afterwards."""

import os
import time

NOTE = ".done"  # of the folder beside unfinished output, and of a note in it: this file is complete


def notes(out):
    folders = os.listdir(out) if os.path.exists(out) else []
    return [(folder, name) for folder in folders if folder.endswith(NOTE)
            for name in os.listdir(os.path.join(out, folder)) if name.endswith(NOTE)]


def kill_once_a_file_is_complete(d, out):
    """{name: stat} of the files that the next attempt is to keep."""
    end = time.monotonic() + 120
    while not notes(out) and time.monotonic() < end:
        time.sleep(0.005)
    d.kill()
    files = next(x for x in os.listdir(out) if x.endswith(".tmp"))
    kept = {name.removesuffix(NOTE): os.stat(os.path.join(out, files, name.removesuffix(NOTE)))
            for _, name in notes(out)}
    assert kept
    return kept


def assert_kept(kept, folder):
    for name, before in kept.items():
        now = os.stat(os.path.join(folder, name))
        assert (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), name
