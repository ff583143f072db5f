r"""The source tree: the tracked files of the project, byte for byte as they lie in the working tree.

Glossary
--------
source tree  what a replay runs: code, declarations, data and lock file; never what a run writes (artifacts,
             caches, the ledger, and DVC's own `dvc.lock`, which changes while the stages run), and never what
             lies under `registry/private/`, tracked or not: one client's events are nothing of another's, so a
             run that used some has them among its own artifacts.
dirty        the tree is not what the named commit holds: a tracked file differs from HEAD or is gone, or
             a file that git neither tracks nor ignores lies inside a package, where Python could import it.

Digest: the dirHash convention over the listed files, `sha256sum | sha256sum` in the order of the names'
bytes:

    git ls-files -z | grep -zvE '^(dvc\.lock$|registry/private/)' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum

File names may be wider than an artifact's: any printable UTF-8 except backslash, which coreutils would
escape.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audit.digest import MAX_LEVELS, Sha256, open_regular, sha256
from audit.errors import Malformed, Unavailable

MAX_PATH_BYTES = 4096
NOT_SOURCE = frozenset({"dvc.lock"})  # rewritten by DVC after every stage: the result of a run, not its cause
PRIVATE = "registry/private"  # a folder for each client's own events
_NOT_SOURCE_DIRS = frozenset(
    {".venv", ".noptik", "artifacts", ".git", "__pycache__", ".dvc/cache", ".dvc/tmp", ".mypy_cache"}
    | {".ruff_cache", ".pytest_cache", ".hypothesis", PRIVATE}
)
_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its '/'-separated path from the root, SHA-256, bytes, and whether it is executable."""

    path: str
    sha256: Sha256
    size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class SourceTree:
    """Every source file in the order of its path's UTF-8 bytes, and the digest of `listing(files)`.

    `commit` is HEAD's id, None without git or before the first commit; `dirty` is False without git.
    """

    files: tuple[SourceFile, ...]
    sha256: Sha256
    dirty: bool
    commit: str | None

    @property
    def executables(self) -> tuple[str, ...]:
        """The paths of the executable files, which `sha256` does not cover."""
        return tuple(file.path for file in self.files if file.executable)


def source_tree(root: Path) -> SourceTree:
    """The source tree at `root` as it is now.

    With a git work tree rooted there, the tracked files that exist; without one (a replayed or exported
    tree), every file outside caches, artifacts and the ledger: the same digest for the same files. Malformed:
    a symbolic link, special file or name that a listing cannot hold. Unavailable: no such folder, git absent
    or failing although `root` holds a repository, a file unreadable.
    """
    tracked = _Git(root).tracked() if (root / ".git").exists() else None
    paths = _walked(root) if tracked is None else tracked.paths
    kept = sorted(filter(_is_source, paths), key=str.encode)
    files = tuple(_source_file(root, path) for path in kept)
    digest = sha256(listing((file.path, file.sha256) for file in files))
    if tracked is None:
        return SourceTree(files, digest, dirty=False, commit=None)
    return SourceTree(files, digest, dirty=tracked.dirty, commit=tracked.commit)


def listing(files: Iterable[tuple[str, Sha256]]) -> bytes:
    """What `sha256sum` prints for (path, sha256) pairs, by the paths' bytes; its SHA-256 is the dirHash.

    Malformed for a path that is absolute, climbs, or is not plain printable UTF-8.
    """
    ordered = sorted(files, key=lambda file: file[0].encode())
    return "".join(f"{digest}  {safe_path(path)}\n" for path, digest in ordered).encode()


def parse_listing(raw: bytes, where: str) -> tuple[tuple[str, Sha256], ...]:
    """The (path, sha256) pairs of a listing, each path safe to create below a fresh folder.

    Malformed unless `raw` is exactly what `listing` writes: sorted, no path twice, no file that is also a
    folder.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("listing is not UTF-8", where, "UTF-8", f"byte {error.start}") from error
    pairs = tuple((match[2], match[1]) for match in _LINE.finditer(text))
    if listing(pairs) != raw:
        raise Malformed("not a sorted sha256sum listing", where, "lines of digest, two spaces, path", "other bytes")
    paths = {path for path, _ in pairs}
    folders = {"/".join(parts[:n]) for path in paths if (parts := path.split("/")) for n in range(1, len(parts))}
    if len(paths) != len(pairs) or paths & folders:
        raise Malformed("path listed twice", where, "each path once", sorted(paths & folders)[:1] or "a double")
    return pairs


def safe_path(path: str) -> str:
    """`path` itself, if it can only name a file below the folder it is joined to; Malformed otherwise."""
    if len(path.encode()) > MAX_PATH_BYTES or path.count("/") >= MAX_LEVELS:
        raise Malformed("path too long", ascii(path), f"{MAX_PATH_BYTES} bytes, {MAX_LEVELS} levels", len(path))
    parts = path.split("/")
    if not path.isprintable() or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise Malformed("path not allowed", ascii(path), "printable, relative, no '.', '..' or backslash", ascii(path))
    return path


def _source_file(root: Path, path: str) -> SourceFile:
    place = root / safe_path(path)
    with open_regular(place) as fd:
        state = hashlib.sha256()
        size = 0
        try:
            executable = bool(os.fstat(fd).st_mode & stat.S_IXUSR)
            while chunk := os.read(fd, 1 << 20):
                state.update(chunk)
                size += len(chunk)
        except OSError as error:
            raise Unavailable(f"cannot read: {error.strerror}", place) from error
    return SourceFile(path, state.hexdigest(), size, executable)


def _walked(root: Path, prefix: str = "") -> Iterator[str]:
    """Every file below `root` that could be source, in no order; links are left for the caller to refuse."""
    try:
        entries = list(os.scandir(root / prefix))
    except OSError as error:
        raise Unavailable(f"cannot list the source tree: {error.strerror}", root / prefix) from error
    for entry in entries:
        path = f"{prefix}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if not {entry.name, path} & _NOT_SOURCE_DIRS and not entry.name.endswith(".egg-info"):
                yield from _walked(root, f"{path}/")
        elif not entry.name.endswith(".pyc"):
            yield path


@dataclass(frozen=True, slots=True)
class _Tracked:
    paths: tuple[str, ...]
    dirty: bool
    commit: str | None


@dataclass(frozen=True, slots=True)
class _Git:
    """The git work tree at `root`, read without writing to it and whatever the user's GIT_* variables say."""

    root: Path

    def tracked(self) -> _Tracked:
        """The tracked files that exist, whether they are HEAD's, and HEAD."""
        listed = self._names("ls-files", "-z")
        present = tuple(path for path in listed if os.path.lexists(self.root / path))
        status = self._names("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames")
        packages = {path.split("/")[0] for path in listed if path.endswith("/__init__.py")}
        dirty = any(_is_dirt(line[:2], line[3:], packages) for line in status)
        commit = self._run("rev-parse", "--verify", "--quiet", "HEAD", failing=True).decode().strip()
        return _Tracked(present, dirty, commit or None)

    def _names(self, *arguments: str) -> list[str]:
        try:
            return [name.decode("utf-8") for name in self._run(*arguments).split(b"\0") if name]
        except UnicodeDecodeError as error:
            raise Malformed("file name is not UTF-8", self.root, "UTF-8", error.object) from error

    def _run(self, *arguments: str, failing: bool = False) -> bytes:
        # GIT_CEILING_DIRECTORIES: a repository around `root` is not the project's. safe.directory: a checkout
        # made by another user (as in a container) is read, never executed from: fsmonitor and hooks stay off.
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(self.root.resolve().parent),
        }
        options = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false"]
        command = ["git", "-C", str(self.root), *options, *arguments]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, check=False)
        except OSError as error:
            raise Unavailable(f"cannot run git: {error.strerror}", self.root) from error
        if done.returncode and not failing:
            raise Unavailable("git failed", self.root, "exit code 0", done.stderr.decode(errors="replace").strip())
        return done.stdout


def _is_dirt(code: str, path: str, packages: set[str]) -> bool:
    return _is_source(path) and (code != "??" or path.split("/")[0] in packages)


def _is_source(path: str) -> bool:
    return path not in NOT_SOURCE and not path.startswith(f"{PRIVATE}/")
