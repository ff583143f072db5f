"""The environment a run is replayed in: exactly the packages that its recorded lock file pins, by version and hash."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from audit.environment import LOCK, installed_matches_lock
from audit.errors import Malformed, Unavailable

BOOTSTRAP, BUILD = "requirements-bootstrap.lock", "requirements-build.lock"
_LIST = """\
import importlib.metadata, json, re
found = {}
for package in importlib.metadata.distributions():  # the first of a name is the one that is imported
    found.setdefault(re.sub("[-_.]+", "-", package.metadata["Name"]).lower(), package.version)
print(json.dumps(found))
"""
_LINE = re.compile(
    r"#.*|[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[A-Za-z0-9,._-]+\])?==[A-Za-z0-9.+!_-]+ \\"
    r"|    --hash=sha256:[0-9a-f]{64}(?: \\)?"
)
_NEEDED = re.compile(
    r"PATH|HOME|LANG|TMPDIR|REQUESTS_CA_BUNDLE|(?:PIP|UV|SSL|XDG)_.*|(?:https?|no|all)_proxy", re.IGNORECASE
)
_INSTALLED = TypeAdapter(dict[str, str])


def require_lock(lock: Path, interpreter: Sequence[str]) -> None:
    """Returns only if the interpreter has every package that the lock file pins, at that version.

    Unavailable: it has not, naming the first ten; or it cannot be asked. Malformed: the lock has other than pins.
    """
    differences = installed_matches_lock(lock, _installed(interpreter))
    if differences:
        shown = ", ".join(str(difference) for difference in differences[:10])
        more = f" and {len(differences) - 10} more" if len(differences) > 10 else ""
        raise Unavailable("installed packages are not those of the recorded lock", LOCK, "", f"{shown}{more}")


def build(tree: Path, folder: Path, python: str) -> Path:
    """The interpreter of a new virtual environment in `folder`, made by `python` from the lock files in `tree`.

    As `make` does it: pip installs uv from the bootstrap lock, and uv everything else, each by its hash, from the
    user's package index. Unavailable: a lock file is missing, or a step failed.
    """
    for name in (LOCK, BOOTSTRAP, BUILD):
        if not (tree / name).is_file():
            raise Unavailable("no environment can be built: the source has no such lock file", name)
    for name in (LOCK, BOOTSTRAP, BUILD):
        _require_pins(tree / name)
    lock, bootstrap, builds = (str((tree / name).resolve()) for name in (LOCK, BOOTSTRAP, BUILD))
    interpreter = folder / "bin" / "python"
    pip = [str(interpreter), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    sync = [str(folder / "bin" / "uv"), "--system-certs", "pip", "sync", "--quiet", "--python", str(interpreter)]
    _step([python, "-I", "-m", "venv", str(folder)], folder.parent)
    _step([*pip, "-r", bootstrap], folder.parent)
    _step([*sync, "--require-hashes", "--build-constraints", builds, lock], folder.parent)
    return interpreter


def _require_pins(lock: Path) -> None:
    """Returns only if the lock file holds exact pins and their hashes, and nothing that could name another source."""
    for number, line in enumerate(lock.read_text("utf-8", errors="replace").splitlines(), 1):
        if line and not _LINE.fullmatch(line):
            raise Malformed("not an exact pin or its hash", f"{lock.name}:{number}", "name==version, --hash", line)


def _step(command: list[str], place: Path) -> None:
    """One command, finished in `place`, where nothing of the bundle lies: it runs before any sandbox.

    Of the user's environment it has what reaches the package index, and nothing else.
    """
    environment = {name: value for name, value in os.environ.items() if _NEEDED.fullmatch(name)}
    try:
        done = subprocess.run(command, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=2, check=False)
    except OSError as error:
        raise Unavailable(f"cannot build the environment: {error.strerror}", command[0]) from error
    if done.returncode:
        raise Unavailable("cannot build the environment", " ".join(command[:4]), "exit code 0", done.returncode)


def _installed(interpreter: Sequence[str]) -> dict[str, str]:
    """Every package the interpreter has, by its normalised name (PEP 503), and the version."""
    try:
        done = subprocess.run([*interpreter, "-I", "-c", _LIST], capture_output=True, check=False)
    except OSError as error:
        raise Unavailable(f"cannot start the interpreter: {error.strerror}", interpreter[0]) from error
    try:
        return _INSTALLED.validate_json(done.stdout)
    except ValidationError as error:
        raise Unavailable("the interpreter does not list its packages", interpreter[0]) from error
