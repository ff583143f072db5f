"""The environment a run is replayed in: exactly the packages that its recorded lock file pins, by version and hash."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from audit.environment import LOCK, installed_matches_lock
from audit.errors import Unavailable

BOOTSTRAP, BUILD = "requirements-bootstrap.lock", "requirements-build.lock"
_LIST = """\
import importlib.metadata, json, re
found = {}
for package in importlib.metadata.distributions():  # the first of a name is the one that is imported
    found.setdefault(re.sub("[-_.]+", "-", package.metadata["Name"]).lower(), package.version)
print(json.dumps(found))
"""
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
    interpreter = folder / "bin" / "python"
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    sync = [str(folder / "bin" / "uv"), "--system-certs", "pip", "sync", "--quiet", "--python", str(interpreter)]
    _step([python, "-m", "venv", str(folder)], tree)
    _step([*pip, "-r", BOOTSTRAP], tree)
    _step([*sync, "--require-hashes", "--build-constraints", BUILD, LOCK], tree)
    return interpreter


def _step(command: list[str], tree: Path) -> None:
    """One command, finished in `tree`, in the user's environment: it needs the package index, and its settings."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, stdout=2, check=False)
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
