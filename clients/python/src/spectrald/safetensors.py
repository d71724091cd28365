"""Writes and reads safetensors files, without any dependency."""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import sys
from typing import Any, Callable, Dict, Mapping, NamedTuple, Sequence, Union

from .bodies import StrPath

SIZE = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class Tensor(NamedTuple):
    """dtype: a name of safetensors ("F32"). data: the elements in row-major order, little-endian; or
    what returns them, called when their turn has come."""
    dtype: str
    shape: Sequence[int]
    data: Union[bytes, memoryview, Callable[[], Union[bytes, memoryview]]]


def write(path: StrPath, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file as a whole or not at all: under a temporary name beside `path`, which it replaces
    once all is on disk. The same tensors and metadata make the same bytes.

    Larger elements come first and the header is padded to 8, so that every tensor is aligned.
    Raises ValueError when a tensor's data does not fit its shape, OSError when writing fails."""
    if sys.byteorder != "little":
        raise ValueError("safetensors files are written on little-endian machines only")
    names = sorted(tensors, key=lambda name: (-SIZE[tensors[name].dtype], name))
    header: Dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        t = tensors[name]
        start, end = end, end + math.prod(t.shape) * SIZE[t.dtype]
        header[name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [start, end]}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    final = os.path.abspath(os.fspath(path))
    part = f"{final}.{os.getpid()}.part"
    try:
        with open(part, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            for name in names:
                data = tensors[name].data
                view = memoryview(data() if callable(data) else data)
                a, b = header[name]["data_offsets"]
                if view.nbytes != b - a:
                    raise ValueError(f"{name}: {view.nbytes} bytes, its shape takes {b - a}")
                f.write(view)
            f.flush()
            os.fsync(f.fileno())
        os.replace(part, final)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise
    folder = os.open(os.path.dirname(final), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: StrPath) -> Dict[str, Tensor]:
    """The tensors of a file. Their data is mapped and read when it is looked at; what is written to
    it stays in memory. Raises ValueError for what is no such file, OSError."""
    with open(path, "rb") as f:
        size = os.fstat(f.fileno()).st_size
        head = f.read(8)
        n = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if n > size - 8:
            raise ValueError(f"{os.fspath(path)} is no safetensors file")
        header = json.loads(f.read(n))
        view = memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY))
    header.pop("__metadata__", None)
    out = {}
    for name, t in header.items():
        a, b = t["data_offsets"]
        if not 0 <= a <= b <= size - 8 - n or b - a != math.prod(t["shape"]) * SIZE[t["dtype"]]:
            raise ValueError(f"{os.fspath(path)}: {name} does not fit")
        out[name] = Tensor(t["dtype"], t["shape"], view[8 + n + a:8 + n + b])
    return out
