"""What an upload sends: a file, or the tar of a model's directory, read as it is sent."""

from __future__ import annotations

import hashlib
import os
import tarfile
from typing import Iterator, List, Tuple, Union

from .errors import SpectraldError

StrPath = Union[str, "os.PathLike[str]"]

# Files of a model directory that the server's readers look at.
WANTED = (".safetensors", ".json")
WEIGHTS = ".safetensors"
MEMBERS_MAX = 4096  # the server takes no more
CHUNK = 1 << 20


class _Read:
    """A body that is hashed on its way; `sha256` is that of the last complete sending."""
    content_type = ""
    length: int
    sha256 = ""

    def parts(self) -> Iterator[bytes]:
        raise NotImplementedError

    def chunks(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for part in self.parts():
            digest.update(part)
            yield part
        self.sha256 = digest.hexdigest()


def _contents(path: str, length: int) -> Iterator[bytes]:
    """Exactly `length` bytes of a file. Raises SpectraldError when it has grown or shrunk."""
    with open(path, "rb", buffering=0) as f:
        left = length
        while left > 0 and (part := f.read(min(left, CHUNK))):
            left -= len(part)
            yield part
        if left or os.fstat(f.fileno()).st_size != length:
            raise SpectraldError(f"{path} changed while it was sent")


class FileBody(_Read):
    """One file."""
    content_type = "application/octet-stream"

    def __init__(self, path: StrPath) -> None:
        self.path = os.fspath(path)
        self.length = os.stat(self.path).st_size

    def parts(self) -> Iterator[bytes]:
        return _contents(self.path, self.length)


class DirectoryBody(_Read):
    """A directory's *.safetensors and *.json as tar. Names and contents alone make the archive, so
    that equal models are equal bytes. Raises SpectraldError when there is no *.safetensors."""
    content_type = "application/x-tar"

    def __init__(self, path: StrPath) -> None:
        folder = os.fspath(path)
        self.members: List[Tuple[bytes, str, int]] = []
        names = sorted(n for n in os.listdir(folder) if n.endswith(WANTED) and n[0] != "." and
                       os.path.isfile(os.path.join(folder, n)))
        if not any(n.endswith(WEIGHTS) for n in names):
            raise SpectraldError(f"no *{WEIGHTS} file in {folder}")
        if len(names) > MEMBERS_MAX:
            raise SpectraldError(f"{folder} holds more than {MEMBERS_MAX} files")
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = os.stat(os.path.join(folder, name)).st_size
            self.members.append((info.tobuf(tarfile.PAX_FORMAT), os.path.join(folder, name),
                                 info.size))
        self.length = 2 * tarfile.BLOCKSIZE + sum(
            len(header) + size + padding(size) for header, _, size in self.members)

    def parts(self) -> Iterator[bytes]:
        for header, path, size in self.members:
            yield header
            yield from _contents(path, size)
            yield bytes(padding(size))
        yield bytes(2 * tarfile.BLOCKSIZE)


def padding(size: int) -> int:
    """Bytes from the end of a member to the next block of the archive."""
    return -size % tarfile.BLOCKSIZE
