"""The workspace against the log: the files under `artifacts/<forecast>/` are exactly those of one sealed run.

Which run is said by the receipt in `seal/`, which must be one the log gave: it need not be the latest, since
an older state may have been checked out again. Beside the run's artifacts there may lie, and nothing else
may:

    statements/<stage>.json   the core of each stage statement, byte for byte as logged
    register/receipt.json     the receipt of the run's registration, as the log gave it
    seal/receipt.json         the receipt of its seal
    run/<stage>.json          when and where this workspace's stages ran: no evidence, the sealed copy is
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audit.digest import Sha256, digest_path, sha256
from audit.errors import DigestMismatch, Inconsistent, Malformed, Unavailable
from audit.evidence import Evidence, evidence, receipt
from audit.receipt import check_receipt, parse_receipt, receipt_bytes
from audit.resource import Subject
from audit.run import SEAL, Run, folder, receipt_name, statement_name
from audit.trust import TrustedLog

MAX_SMALL_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Workspace:
    """One forecast's artifacts, checked: the run they are, whether it is the latest, and the bytes hashed."""

    forecast: str
    run: Run
    latest: bool
    size: int


def check_workspace(root: Path, forecast: str, log: TrustedLog) -> Workspace:
    """What `artifacts/<forecast>/` below `root` holds, returned only if it is exactly one sealed run.

    Precondition: the log holds a run of the forecast. Unavailable: the folder does not exist (never
    reproduced here), or something in it cannot be read. Tampered: anything missing, altered, extra or of
    another run.
    """
    if not (root / folder(forecast)).is_dir():
        raise Unavailable("no artifacts: never reproduced here", root / folder(forecast))
    known = _run_of(root, forecast, log)
    run, artifacts = known.run, known.artifacts
    size = sum(check_artifact(root, subject) for subject in artifacts)
    for stage in run.stages:
        name = statement_name(forecast, stage.stage)
        found = sha256(_small(root, name))
        if found != stage.sha256:
            raise DigestMismatch("statement differs from the sealed one", name, stage.sha256, found)
    extra = extra_files(root, run, artifacts)
    if extra:
        raise Inconsistent("extra file", extra[0], "none that the sealed run does not name", "a file")
    return Workspace(forecast, run, run.id == log.of(forecast)[-1].id, size)


def _run_of(root: Path, forecast: str, log: TrustedLog) -> Evidence:
    """The run that the workspace's two receipts name."""
    core = _receipt(root, receipt_name(forecast, "seal"), log)
    ref = next((ref for ref in log.of(forecast) if ref.id == core), None)
    if ref is None:
        raise Inconsistent("receipt of no run of this forecast", receipt_name(forecast, "seal"), forecast, core)
    known = evidence(log, ref)
    name = receipt_name(forecast, "register")
    registered = _receipt(root, name, log)
    if registered != known.run.registration:
        raise Inconsistent("receipt of another registration", name, known.run.registration, registered)
    return known


def check_artifact(root: Path, subject: Subject) -> int:
    """The bytes of the artifact, returned only if the file or directory is the one its statement names.

    Inconsistent if it is gone, DigestMismatch if it differs: for a directory with the first file to look at.
    """
    path = root / subject.name
    if not os.path.lexists(path):
        raise Inconsistent("artifact deleted", subject.name, subject.sha256, "no such file")
    found = digest_path(path)
    if found.kind != subject.digest.kind:
        raise Malformed("artifact of the wrong kind", subject.name, subject.digest.kind, found.kind)
    if found.sha256 != subject.sha256:
        raise DigestMismatch("artifact differs from its digest", subject.name, subject.sha256, found.sha256)
    return found.size


def extra_files(root: Path, run: Run, artifacts: tuple[Subject, ...]) -> tuple[str, ...]:
    """Every file in the forecast's folder that is not one of the run's and may not lie beside them."""
    files = {subject.name for subject in artifacts if subject.digest.kind == "file"}
    directories = {subject.name for subject in artifacts if subject.digest.kind == "dir"}
    stages = {stage.stage for stage in run.stages} | {"register", SEAL}
    files |= {statement_name(run.forecast, stage.stage) for stage in run.stages}
    files |= {f"{folder(run.forecast)}/run/{stage}.json" for stage in stages}
    files |= {receipt_name(run.forecast, stage) for stage in ("register", "seal")}
    files.add(f"{folder(run.forecast)}/.gitignore")  # DVC's
    return tuple(sorted(set(_files(root, folder(run.forecast), directories)) - files))


def _files(root: Path, name: str, checked: set[str]) -> Iterator[str]:
    """Every file below the folder, directories in `checked` left out: their dirHash says what is in them."""
    try:
        entries = list(os.scandir(root / name))
    except OSError as error:
        raise Unavailable(f"cannot list: {error.strerror}", root / name) from error
    for entry in entries:
        inner = f"{name}/{entry.name}"
        if not entry.is_dir(follow_symlinks=False):
            yield inner
        elif inner not in checked:
            yield from _files(root, inner, checked)


def _receipt(root: Path, name: str, log: TrustedLog) -> Sha256:
    """The core that the file `name` is the receipt of; else the error says why it is no receipt of this log."""
    raw = _small(root, name)
    said = parse_receipt(raw, name)
    if said.seq < log.head.size and raw == receipt_bytes(receipt(log, said.seq)):
        return said.core_sha256
    head = check_receipt(said, log.keys, name)
    if head.size > log.head.size:
        raise Inconsistent("entries deleted from the log: a receipt proves more", name, head.size, log.head.size)
    raise Inconsistent("receipt that this log never gave", name, "a receipt of the log", said.core_sha256)


def _small(root: Path, name: str) -> bytes:
    path = root / name
    if not os.path.lexists(path):
        raise Inconsistent("file deleted", name, "a file", "no such file")
    if path.is_symlink() or not path.is_file():
        raise Malformed("not a regular file", name, "a regular file", "a link or special file")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SMALL_BYTES + 1)
    except OSError as error:
        raise Unavailable(f"cannot read: {error.strerror}", path) from error
    if len(raw) > MAX_SMALL_BYTES:
        raise Malformed("file too large", name, f"at most {MAX_SMALL_BYTES} bytes", "more")
    return raw
