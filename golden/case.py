"""What a golden case is: committed inputs, and the committed bytes that a run of them must give.

    golden/<case>/project/   the inputs, laid out as a project
    golden/<case>/expected/  what a run leaves, byte for byte

No module of this folder imports a numerical library at its top: the process is put into the determinism profile first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audit.errors import Unavailable

HERE = Path(__file__).resolve().parent


class How(NamedTuple):
    """What must not matter to a run."""

    workers: int  # processes; 0: everything in this one
    cache: Path | None  # where compiled programs are kept, if anywhere
    backwards: bool  # whether the inputs are laid out in the reverse order of their names


@dataclass(frozen=True)
class Case:
    """A named case under golden/. `produce(root, how)` runs it in its project at `root` and returns what it left."""

    name: str
    produce: Callable[[Path, How], Path]

    @property
    def project(self) -> Path:
        """Where the inputs lie."""
        return HERE / self.name / "project"

    @property
    def expected(self) -> Path:
        """Where the committed bytes lie."""
        return HERE / self.name / "expected"

    def run(self, root: Path, how: How) -> Path:
        """The folder that a run leaves below `root`, which is made. Precondition: the process is in the profile."""
        _lay_out(self.project, root, how.backwards)
        return self.produce(root, how)


def _lay_out(project: Path, root: Path, backwards: bool) -> None:
    """`root` holds the files of `project`, written one after the other; no mode or time is taken over."""
    files = sorted(path for path in project.rglob("*") if path.is_file())
    if not files:
        raise Unavailable("no inputs of the case", project)
    for path in reversed(files) if backwards else files:
        copy = root / path.relative_to(project)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
