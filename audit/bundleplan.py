"""What goes into a bundle: every file of its payload, from the log and the store, by name, digest and size.

The log is first seen through the eyes of who gets the bundle (`audit.bundleview`), and must be trusted like that too.
Contents lie in a private folder until they are written, so that a plan is small however large the bundle.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path

from audit.bundle import (
    CHECKPOINT,
    EXPECTED,
    INFO,
    PAGE,
    SOURCE,
    SOURCE_LISTING,
    BundleInfo,
    File,
    derived,
    info_bytes,
    log_files,
    root_name,
    shown_artifacts,
    timestamp_name,
)
from audit.bundleguide import Guide, guide_bytes
from audit.bundleview import Attached, view
from audit.bundlewithheld import (
    FEATURE_KINDS,
    SOURCE_KINDS,
    WITHHOLDABLE,
    artifact_words,
    hides_artifact,
    hides_source,
    lacking,
)
from audit.digest import CHUNK, Sha256, digest_path, open_regular, sha256
from audit.errors import KeyRefused, Unavailable, Usage
from audit.evidence import Evidence, evidence
from audit.note import with_lines
from audit.run import Run
from audit.signing import SigningKey
from audit.source import listing
from audit.store import Store
from audit.trust import TrustedLog, trust

_NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for: the latest run of the forecast, light or whole, and what to withhold."""

    forecast: str
    light: bool = False
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Origins:
    """Where it comes from: a trusted log, the store, the root of trust's files, the log's key.

    `attached` gives what others signed over the head of a size, as ("cosignature" or "timestamp", bytes).
    """

    log: TrustedLog
    store: Store
    chain: Sequence[bytes]
    key: SigningKey
    attached: Attached = lambda _: ()


@dataclass(frozen=True, slots=True)
class Contents:
    """One file to write: the bytes of the file `source`, with this digest."""

    source: Path
    sha256: Sha256
    size: int
    executable: bool = False

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in pieces."""
        with open_regular(self.source) as fd:
            while chunk := os.read(fd, CHUNK):
                yield chunk


@dataclass(frozen=True, slots=True)
class Plan:
    """What the bundle is, its guide, and its payload by name below data/."""

    info: BundleInfo
    guide: bytes
    payload: Mapping[str, Contents]


def plan(order: Order, origins: Origins, staged: Path) -> Plan:
    """The plan of the bundle; its contents lie below the empty folder `staged` from now on.

    Usage: a word to withhold that fits nothing, or the seal. KeyRefused: not the log's active key. Unavailable: no
    sealed run of the forecast, or an object is missing from the store. Errors of `trust` if the evidence is bad.
    """
    run = _latest(order, origins)
    shown = view(origins.log, order.forecast, order.withheld, origins.attached)
    log = trust(shown, origins.log.keys)
    known = evidence(log, next(ref for ref in log.of(order.forecast) if ref.id == run.id))
    disclosed = sorted(shown.disclosed)
    stamps = list(_stamps(origins, log))
    lines = [data for kind, data in origins.attached(log.head.size) if kind == "cosignature"]
    info, guide = _described(order, origins, log, known, disclosed, [name for name, _ in stamps])
    small: list[Iterable[File]] = [
        log_files(log.log, log.head.size),
        derived(log, known, origins.chain, disclosed, light=order.light),
        ((root_name(number), raw) for number, raw in enumerate(origins.chain, 1)),
        stamps,
        [(CHECKPOINT, with_lines(log.note, lines)), (INFO, info_bytes(info))],
    ]
    payload = {name: _stage(staged / "small", number, raw) for number, (name, raw) in enumerate(_all(small))}
    payload |= _artifacts(order, origins.store, log, known, staged)
    payload |= _source(order, origins.store, known.run, staged)
    return Plan(info, guide, payload)


def page_bytes() -> bytes:
    """The page that checks a bundle in a browser."""
    return (package_files("audit") / PAGE).read_bytes()


def _latest(order: Order, origins: Origins) -> Run:
    """The run to bundle, returned only if the order and the key fit it."""
    active = origins.log.keys.spans[-1].key
    if origins.key.public != active:
        raise KeyRefused("not the log's active key", "bundle", active.key_id, origins.key.public.key_id)
    refs = origins.log.of(order.forecast)
    if not refs:
        raise Unavailable("no sealed run of this forecast", origins.log.log.where, "a run", order.forecast)
    run = origins.log.run(refs[-1])
    known = {*WITHHOLDABLE, *SOURCE_KINDS, *(stage.stage for stage in run.stages)}
    if not set(FEATURE_KINDS).isdisjoint(order.withheld):
        known |= _features(run, origins.store)
    for word in order.withheld:
        if word == "seal":
            raise Usage("the seal cannot be withheld: it is what the bundle is of", "--withhold")
        if word not in known:
            raise Usage("nothing of this name to withhold", "--withhold", ", ".join(sorted(known)), word)
    return run


def _features(run: Run, store: Store) -> set[str]:
    """Which of creatives and recordings the run has any of, in its source or among its artifacts."""
    words = {word for subject in run.artifacts for word in artifact_words(subject.name)}
    return words.union(lacking(FEATURE_KINDS, (name for name, _ in store.listed(run.source_tree))))


def _all(parts: Iterable[Iterable[File]]) -> Iterator[File]:
    for part in parts:
        yield from part


def _stage(folder: Path, number: int, raw: bytes) -> Contents:
    folder.mkdir(exist_ok=True)
    place = folder / str(number)
    place.write_bytes(raw)
    return Contents(place, sha256(raw), len(raw))


def _stamps(origins: Origins, log: TrustedLog) -> Iterator[File]:
    """The tokens over every head."""
    for size, _ in log.log.heads():
        tokens = [data for kind, data in origins.attached(size) if kind == "timestamp"]
        yield from ((timestamp_name(size, number), token) for number, token in enumerate(tokens))


def _artifacts(
    order: Order, store: Store, log: TrustedLog, known: Evidence, staged: Path
) -> Iterator[tuple[str, Contents]]:
    """The artifacts that are disclosed, less what is withheld, and the listing of all their files."""
    lines: list[tuple[str, Sha256]] = []
    registered = {subject.name for subject in known.registered}
    for subject in shown_artifacts(log, known):
        place = staged / "files" / subject.name
        whole = (not order.light or subject.name in registered) and not hides_artifact(order.withheld, subject.name)
        store.get(subject.digest.kind, subject.sha256, place)
        for file in digest_path(place).files:
            inner = subject.name if subject.digest.kind == "file" else f"{subject.name}/{file.name}"
            lines.append((inner, file.sha256))
            if whole:
                yield inner, Contents(staged / "files" / inner, file.sha256, file.size)
    yield EXPECTED, _stage(staged / EXPECTED, 0, listing(lines))


def _source(order: Order, store: Store, run: Run, staged: Path) -> Iterator[tuple[str, Contents]]:
    if "source" in order.withheld:
        return
    tree = staged / "source"
    store.get_source_tree(run.source_tree, tree, run.executables)
    lines = store.listed(run.source_tree)
    yield SOURCE_LISTING, _stage(staged / SOURCE_LISTING, 0, listing(lines))
    for name, digest in lines:
        if not hides_source(order.withheld, name):
            place = tree / name
            yield SOURCE + name, Contents(place, digest, place.stat().st_size, name in run.executables)


def _described(
    order: Order,
    origins: Origins,
    log: TrustedLog,
    known: Evidence,
    disclosed: Sequence[int],
    timestamps: Sequence[str],
) -> tuple[BundleInfo, bytes]:
    """What the bundle is, and the guide that says so to people."""
    facts = BundleInfo(
        origin=log.head.origin,
        forecast=order.forecast,
        run=known.run.id,
        seq=known.run.seq,
        size=log.head.size,
        light=order.light,
        withheld=tuple(sorted(set(order.withheld))),
        guide_sha256=_NO_DIGEST,
        page_sha256=sha256(page_bytes()),
    )
    guide = guide_bytes(
        Guide(
            facts=facts,
            keys=log.keys,
            chain=origins.chain,
            entries=[seq for seq in disclosed if not log.keys.is_void(seq + 1)],
            registration=None if known.registration is None else known.registration.seq,
            artifacts=shown_artifacts(log, known),
            registered=known.registered,
            timestamps=timestamps,
        )
    )
    return facts.model_copy(update={"guide_sha256": sha256(guide)}), guide
