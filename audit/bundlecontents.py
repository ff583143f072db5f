"""A bundle's artifacts and source against what the run's seal names, file by file."""

from __future__ import annotations

from audit.bag import PAYLOAD
from audit.bundle import EXPECTED, SOURCE, SOURCE_LISTING, BundleInfo, shown_artifacts
from audit.bundleread import MAX_LISTING_BYTES, Files
from audit.bundlewithheld import BY_DIGEST, hides_artifact, hides_source, lacking
from audit.digest import Sha256, sha256
from audit.errors import DigestMismatch, Inconsistent, Malformed
from audit.evidence import Evidence
from audit.resource import Subject
from audit.source import listing, parse_listing
from audit.trust import TrustedLog


def require_artifacts(
    files: Files, log: TrustedLog, known: Evidence, info: BundleInfo
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What of the artifacts could not be checked, and the names of those files that are here.

    The listing must give each artifact's sealed digest, and be of nothing else; each file that is not withheld must be
    here, as listed.
    """
    shown = {subject.name: subject for subject in shown_artifacts(log, known)}
    lines = parse_listing(files.data(EXPECTED, MAX_LISTING_BYTES), PAYLOAD + EXPECTED)
    by_subject: dict[str, list[tuple[str, Sha256]]] = {name: [] for name in shown}
    for name, digest in lines:
        owner = next((part for part in _parents(name) if part in shown), None)
        if owner is None:
            raise Inconsistent("artifact that the seal does not name", name, f"a line less in {EXPECTED}", digest)
        by_subject[owner].append((name, digest))
    for name, subject in shown.items():
        if (found := _digest(subject, by_subject[name])) != subject.sha256:
            raise DigestMismatch("expected artifact is not the sealed one", PAYLOAD + EXPECTED, subject.sha256, found)
    registered = {subject.name for subject in known.registered}
    hidden = {name for name in shown if hides_artifact(info.withheld, name)}
    whole = [name for name in by_subject if name not in hidden and (not info.light or name in registered)]
    here = [line for name in whole for line in by_subject[name]]
    for name, digest in here:
        _require_file(files, name, digest)
    absent = [subject for subject in known.artifacts if subject.name not in shown or subject.name in hidden]
    missing = [f"artifact {subject.name}: withheld; its sealed digest is {subject.sha256}" for subject in absent]
    if info.light:
        missing.append(f"artifacts: a light bundle holds digests only, of {len(lines)} files")
    return tuple(missing), tuple(name for name, _ in here)


def _digest(subject: Subject, lines: list[tuple[str, Sha256]]) -> str:
    """What the listing's lines say is the subject's digest."""
    if subject.digest.kind == "dir":
        return sha256(listing((name.removeprefix(f"{subject.name}/"), digest) for name, digest in lines))
    return lines[0][1] if len(lines) == 1 and lines[0][0] == subject.name else "no such line"


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]


def require_source(files: Files, known: Evidence, info: BundleInfo) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What of the source could not be checked, and the names of its files that are here.

    Each file that is not withheld must be here, as the sealed listing says.
    """
    if "source" in info.withheld:
        return (f"source: withheld; its sealed digest is {known.run.source_tree}; the run cannot be replayed",), ()
    raw = files.data(SOURCE_LISTING, MAX_LISTING_BYTES)
    if sha256(raw) != known.run.source_tree:
        raise DigestMismatch(
            "source is not the sealed one", PAYLOAD + SOURCE_LISTING, known.run.source_tree, sha256(raw)
        )
    names, listed = [], parse_listing(raw, PAYLOAD + SOURCE_LISTING)
    for name, digest in listed:
        if not hides_source(info.withheld, name):
            names.append(SOURCE + name)
            _require_file(files, SOURCE + name, digest)
            executable = files.tar.members[files.member(PAYLOAD + SOURCE + name)].executable
            if executable != (name in known.run.executables):
                raise Malformed("mode of a source file", PAYLOAD + SOURCE + name, "as sealed", f"{executable=}")
    words = lacking(info.withheld, (name for name, _ in listed))
    missing = [f"{BY_DIGEST[word]}: withheld, their digests are listed; the run cannot be replayed" for word in words]
    return tuple(missing), (SOURCE_LISTING, *names)


def _require_file(files: Files, name: str, expected: Sha256) -> None:
    found = files.digests.get(PAYLOAD + name)
    if found is None:
        raise Inconsistent("file missing", PAYLOAD + name, expected, "no such file")
    if found != expected:
        raise DigestMismatch("file differs from the sealed digest", PAYLOAD + name, expected, found)
