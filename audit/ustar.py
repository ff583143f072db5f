"""A tar of regular files in one single form: POSIX ustar, so that equal contents are equal bytes, and nothing hides.

Members are sorted by name, each owned by nobody in 1970, mode 0644 (0755 if executable); after the last come two
zero blocks and the file ends. The reader accepts exactly what the writer writes: a header is read, encoded again
and compared, so that links, devices, pax records, odd numbers and whatever else tar programs know are refused.

Names are relative, parts of `[A-Za-z0-9._-]` joined by '/'; none is '.' or '..', no two differ in case only, no
file is also a folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from audit.digest import open_regular
from audit.errors import AuditError, Malformed, Unavailable, Usage

BLOCK = 512
CHUNK = 1 << 20
END = bytes(2 * BLOCK)
MAX_FILE_BYTES = 8**11 - 1  # eleven octal digits
_PART = re.compile(r"[A-Za-z0-9._-]+")
# POSIX.1-1988 ustar: the fields of a header and where they end
_FIELDS: Mapping[str, int] = {
    "name": 100,
    "mode": 108,
    "uid": 116,
    "gid": 124,
    "size": 136,
    "mtime": 148,
    "checksum": 156,
    "type": 157,
    "link": 257,
    "magic": 263,
    "version": 265,
    "owner": 297,
    "group": 329,
    "device": 345,
    "prefix": 500,
    "padding": 512,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a tar: its name, where its contents begin and how many bytes they are."""

    name: str
    offset: int
    size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What a tar may hold at most: members, bytes in one of them, bytes in all."""

    members: int = 250_000
    file_bytes: int = MAX_FILE_BYTES
    total_bytes: int = 2**40


MAX_LEVELS = 16


class Names:
    """The names of a tar so far, in order: each safe to create, strictly after the one before, none twice."""

    def __init__(self) -> None:
        """No name yet."""
        self._last = ""
        self._spelling: dict[str, tuple[str, bool]] = {}  # in lower case: as it was written, and whether a file

    def claim(self, name: str) -> str:
        """What is wrong with `name` as the next one; '' if nothing is, and afterwards it is taken."""
        parts = name.split("/")
        if not all(_PART.fullmatch(part) and part not in (".", "..") for part in parts):
            return "relative, parts of A-Z a-z 0-9 . _ - and none of them '.' or '..'"
        if len(parts) > MAX_LEVELS:  # every folder on the way is remembered
            return f"at most {MAX_LEVELS} levels"
        if not self._last < name:
            return f"a name after {self._last}"
        for number in range(1, len(parts) + 1):
            path, is_file = "/".join(parts[:number]), number == len(parts)
            known = self._spelling.setdefault(path.lower(), (path, is_file))
            if known != (path, is_file):
                return f"no name like {known[0]}, which is there"
        self._last = name
        return ""


class Writer:
    """Writes a tar to `file`, member by member, in constant memory."""

    def __init__(self, file: BinaryIO) -> None:
        """An empty tar; `file` is left open."""
        self._file = file
        self._names = Names()

    def add(self, name: str, size: int, chunks: Iterable[bytes], *, executable: bool = False) -> None:
        """Afterwards the tar holds one more file, of `size` bytes.

        Usage: a name that may not follow, or too long for ustar; contents of another size.
        """
        if (expected := self._names.claim(name)) != "":
            raise Usage("name not allowed in a bundle", name, expected, ascii(name))
        self._file.write(header(name, size, executable))
        written = 0
        for chunk in chunks:
            written += len(chunk)
            self._file.write(chunk)
        if written != size:
            raise Usage("file changed while it was bundled", name, f"{size} bytes", f"{written} bytes")
        self._file.write(bytes(-size % BLOCK))

    def close(self) -> None:
        """Afterwards the tar is whole."""
        self._file.write(END)


@dataclass(frozen=True, slots=True)
class Tar:
    """A tar that is open on `fd`, its members by name; what is read comes from that one descriptor."""

    fd: int
    where: str
    members: Mapping[str, Member]

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The contents of a member in pieces, each valid until the next is asked for. Unavailable if unread."""
        member = self.members[name]
        buffer = memoryview(bytearray(min(CHUNK, member.size)))
        at, end = member.offset, member.offset + member.size
        while at < end:
            got = _pread_into(self.fd, buffer[: min(CHUNK, end - at)], at, f"{self.where}: {name}")
            yield buffer[:got]
            at += got

    def read(self, name: str, max_bytes: int) -> bytes:
        """The contents of a member. Malformed if there is none of this name or it is larger."""
        member = self.members.get(name)
        if member is None:
            raise Malformed("file missing", f"{self.where}: {name}", "a file", "no such name")
        if member.size > max_bytes:
            _refuse("file too large", name, member.offset, f"at most {max_bytes} bytes", member.size)
        return b"".join(bytes(chunk) for chunk in self.chunks(name))


@contextmanager
def open_tar(path: Path, limits: Limits | None = None) -> Iterator[Tar]:
    """The tar at `path`, opened once and closed afterwards; all of its structure is checked, no contents are.

    Malformed, naming member and offset, for anything but what `Writer` writes, and beyond `limits`.
    Unavailable: the file cannot be read.
    """
    with open_regular(path) as fd:
        yield Tar(fd, str(path), _members(fd, str(path), limits or Limits()))


def header(name: str, size: int, executable: bool) -> bytes:
    """The header of a file (POSIX.1-1988 ustar). Usage: a name or a size that it cannot hold."""
    prefix, short = _split(name)
    if not 0 <= size <= MAX_FILE_BYTES:
        raise Usage("file too large for a tar", name, f"at most {MAX_FILE_BYTES} bytes", size)
    mode = 0o755 if executable else 0o644
    zeros = "0" * 7 + "\0"
    text = f"{short:\0<100}{mode:07o}\0{zeros}{zeros}{size:011o}\0{0:011o}\0{'':8}0{'':\0<100}"
    text += f"ustar\x0000{'':\0<32}{'':\0<32}{zeros}{zeros}{prefix:\0<155}{'':\0<12}"
    raw = text.encode("ascii")
    return raw[:148] + f"{sum(raw):06o}\0 ".encode() + raw[156:]


def extract(tar: Tar, destination: Path, names: Iterable[str], strip: int = 0) -> None:
    """Afterwards the new folder `destination` holds these members, without the first `strip` parts of their names.

    Directories are entered by descriptor and never followed through a link, files are only ever created, so nothing
    outside the folder is touched, whoever works in it meanwhile. Usage if the folder exists.
    """
    try:
        destination.mkdir(parents=True)
        root = _enter(str(destination), None)
    except FileExistsError as error:
        raise Usage("something is already there", destination) from error
    except OSError as error:
        raise Unavailable(f"cannot write: {error.strerror}", destination) from error
    opened: list[tuple[str, int]] = [("", root)]  # the folders on the way to the last file
    try:
        for name in sorted(names):
            *folders, last = name.split("/")[strip:]
            _descend(opened, folders)
            _write(tar, name, last, opened[-1][1])
    except OSError as error:
        raise Unavailable(f"cannot extract: {error.strerror}", f"{destination}/{error.filename or ''}") from error
    finally:
        for _, fd in opened:
            os.close(fd)


def _descend(opened: list[tuple[str, int]], folders: list[str]) -> None:
    """Afterwards the last of `opened` is the folder at the end of `folders`; each was made here."""
    wanted = ["", *folders]
    common = next((i for i, pair in enumerate(opened) if wanted[i : i + 1] != [pair[0]]), len(opened))
    for _, fd in opened[common:]:
        os.close(fd)
    del opened[common:]
    for part in wanted[common:]:
        os.mkdir(part, 0o755, dir_fd=opened[-1][1])
        opened.append((part, _enter(part, opened[-1][1])))


def _enter(name: str, parent: int | None) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _write(tar: Tar, name: str, last: str, folder: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(last, flags, 0o600, dir_fd=folder), "wb") as file:
        for chunk in tar.chunks(name):
            file.write(chunk)
        os.fchmod(file.fileno(), 0o755 if tar.members[name].executable else 0o644)  # whatever the umask took away


def _split(name: str) -> tuple[str, str]:
    """The name as ustar keeps it: (prefix, last 100 characters at most), cut at the first '/' that allows it."""
    if len(name) <= 100:
        return "", name
    cut = name.find("/", len(name) - 101)
    if not 0 < cut <= 155 or not name[cut + 1 :]:
        raise Usage("name too long for a tar", name, "155 characters, '/', 100 characters", len(name))
    return name[:cut], name[cut + 1 :]


def _members(fd: int, where: str, limits: Limits) -> dict[str, Member]:
    """Every member, by name in order, after a walk from header to header to the end of the file."""
    names, members, total, at = Names(), dict[str, Member](), 0, 0
    end = os.fstat(fd).st_size
    while any(raw := _pread(fd, BLOCK, at, where)):
        last = next(reversed(members), "the beginning")
        member = _parse(raw, f"{last}, then", at)
        if (expected := names.claim(member.name)) != "":
            _refuse("name not allowed", f"{last}, then {member.name}", at, expected, ascii(member.name))
        total += member.size
        if len(members) >= limits.members or member.size > limits.file_bytes or total > limits.total_bytes:
            _refuse("tar too large", member.name, at, limits, f"{len(members) + 1} members, {total} bytes")
        after = member.offset + member.size
        at = after + -member.size % BLOCK
        if at + len(END) > end:
            _refuse("tar cut short", member.name, member.offset, f"{at + len(END)} bytes or more", end)
        if any(_pread(fd, at - after, after, where)):
            _refuse("padding is not zero", member.name, after, "zeros", "other bytes")
        members[member.name] = member
    last = f"after {next(reversed(members), 'no member')}"
    if at + len(END) != end or any(_pread(fd, len(END), at, where)):
        _refuse("tar does not end here", last, at, f"two zero blocks and {at + len(END)} bytes", f"{end} bytes")
    return members


def _parse(raw: bytes, before: str, at: int) -> Member:
    """The member whose header is `raw`, at offset `at`; Malformed unless the writer writes these very bytes."""
    prefix, short = (raw[a:b].rstrip(b"\0").decode("latin-1") for a, b in ((345, 500), (0, 100)))
    name = f"{prefix}/{short}" if prefix else short
    digits = raw[124:135]
    size = int(digits, 8) if re.fullmatch(rb"[0-7]{11}", digits) else 0
    executable = raw[100:107] == b"0000755"
    try:
        plain = header(name, size, executable)
    except (AuditError, UnicodeEncodeError):
        _refuse("name not allowed", f"{before} {name!a}", at, "a name that ustar holds", ascii(name))
    if raw != plain:
        first = next(i for i in range(len(plain)) if raw[i : i + 1] != plain[i : i + 1])
        field = next(field for field, stop in _FIELDS.items() if first < stop)
        expected = "the one form of a plain file"
        _refuse(f"header field {field} differs", f"{before} {name!a}", at, expected, raw[first:][:16])
    return Member(name, at + BLOCK, size, executable)


def _pread(fd: int, size: int, at: int, where: str) -> bytes:
    try:
        return os.pread(fd, size, at)
    except OSError as error:
        raise Unavailable(f"cannot read: {error.strerror}", where) from error


def _pread_into(fd: int, buffer: memoryview, at: int, where: str) -> int:
    """The number of bytes read into `buffer`, at least one; Unavailable: the file was cut short meanwhile."""
    try:
        got = os.preadv(fd, [buffer], at)
    except OSError as error:
        raise Unavailable(f"cannot read: {error.strerror}", where) from error
    if got == 0:
        raise Unavailable("file cut short while it was read", where, f"{len(buffer)} bytes at {at}", "its end")
    return got


def _refuse(what: str, name: str, at: int, expected: object, found: object) -> NoReturn:
    raise Malformed(what, f"at byte {at}: {name}", expected, found)
