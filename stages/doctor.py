"""`noptik doctor`: may this machine replay? Compares its numeric fingerprint with the committed one.

Exit codes: 0 it may; 1 it may not (an operation of the replayed path differs); 2 it cannot be told (the
process cannot enter the determinism profile, or the committed fingerprint is unreadable).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audit.environment import machine
from engine import precision
from engine.errors import EngineError
from stages.stage import into_profile

MAY, MAY_NOT, UNAVAILABLE = 0, 1, 2
_SHOWN = ("AVX", "AVX2", "FMA3", "AVX512F")  # the profile needs the first three and never uses the last


@dataclass(frozen=True)
class Diagnosis:
    """What was found here, beside what is expected; `differing` holds fingerprint.Differing tuples."""

    cpu: str  # as the kernel names it: under a user-mode emulator, the host's
    cpu_features: tuple[str, ...]  # as the process finds them: the emulated CPU's
    cores: int
    libc: str
    kernel: str
    python: str
    profile: str
    profile_sha256: str
    versions: tuple[tuple[str, str], ...]
    operations: int
    expected: str
    found: str
    differing: tuple[Any, ...]
    may_replay: bool


def main(argv: Sequence[str]) -> int:
    """Print the diagnosis and return the exit code; replaces the process first when it is out of profile."""
    arguments = _parser().parse_args(argv)
    try:
        into_profile(["-m", "stages.doctor", *argv])
        if arguments.write:
            return _write(arguments.expected)
        diagnosis = diagnose(arguments.expected)
    except (EngineError, OSError) as error:
        print(json.dumps({"unavailable": str(error)}) if arguments.json else f"unavailable: {error}")
        return UNAVAILABLE
    print(json.dumps(asdict(diagnosis), indent=1) if arguments.json else table(diagnosis))
    return MAY if diagnosis.may_replay else MAY_NOT


def diagnose(expected_path: Path) -> Diagnosis:
    """The diagnosis of this process against the fingerprint at `expected_path`. Call after `precision.enter`.

    Raises EngineError or OSError when that file is not a fingerprint of this profile.
    """
    from engine import fingerprint

    expected = fingerprint.from_json(precision.PROFILE, expected_path.read_text(encoding="utf-8"))
    found = fingerprint.compute()
    here = machine()
    differing = fingerprint.compare(expected, found)
    return Diagnosis(
        cpu=here.cpu,
        cpu_features=precision.cpu_features(),
        cores=here.cores,
        libc=here.libc,
        kernel=here.kernel,
        python=here.python,
        profile=precision.PROFILE.name,
        profile_sha256=precision.PROFILE.sha256,
        versions=tuple((name, importlib.metadata.version(name)) for name, _ in precision.PROFILE.versions),
        operations=len(found.digests),
        expected=expected.sha256,
        found=found.sha256,
        differing=differing,
        may_replay=fingerprint.may_replay(differing),
    )


def _write(path: Path) -> int:
    from engine import fingerprint

    found = fingerprint.compute()
    path.write_text(fingerprint.to_json(precision.PROFILE, found), encoding="utf-8")
    print(f"{path}: fingerprint {found.sha256} of {len(found.digests)} operations written")
    return MAY


def table(diagnosis: Diagnosis) -> str:
    """The diagnosis for a person: facts, each operation that differs, and the verdict on the last line."""
    versions = ", ".join(f"{name} {version}" for name, version in diagnosis.versions)
    lines = [
        f"machine      {diagnosis.cpu}, {diagnosis.cores} cores, {diagnosis.kernel}",
        f"features     {' '.join(name for name in _SHOWN if name in diagnosis.cpu_features)}",
        f"libc         {diagnosis.libc}",
        f"python       {diagnosis.python}",
        f"versions     {versions}",
        f"profile      {diagnosis.profile} {diagnosis.profile_sha256}",
        f"expected     {diagnosis.expected}",
        f"found        {diagnosis.found} ({diagnosis.operations} operations)",
    ]
    if diagnosis.differing:
        lines += ["", f"{'operation':24}{'role':10}{'expected':18}found"]
        lines += [f"{name:24}{role:10}{want:18}{have}" for name, role, want, have in diagnosis.differing]
    return "\n".join([*lines, "", _verdict(diagnosis)])


def _verdict(diagnosis: Diagnosis) -> str:
    sentinels = [name for name, role, *_ in diagnosis.differing if role == "sentinel"]
    if sentinels:
        count = "1 operation" if len(sentinels) == 1 else f"{len(sentinels)} operations"
        verb = "differs" if len(sentinels) == 1 else "differ"
        return f"This machine may NOT replay: {count} of the replayed path {verb}."
    if diagnosis.differing:
        return "This machine may replay: what differs is not on the replayed path."
    return "This machine may replay: every operation agrees."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="noptik doctor",
        description="Compare this machine's numeric fingerprint with the committed one.",
        epilog="exit codes: 0 this machine may replay; 1 it may not; 2 it cannot be told",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--write", action="store_true", help="make this machine's fingerprint the expected one")
    parser.add_argument(
        "--expected",
        type=Path,
        default=Path(precision.__file__).with_name("fingerprint.json"),
        help="the fingerprint to compare with (default: the committed one)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
