"""Writing a bundle: the planned payload in a bag, signed, in a tar that appears whole; the same bytes every time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from audit import age, bag, sshsig
from audit.bag import PAYLOAD
from audit.bundle import GUIDE, PAGE, SIGNATURE, BundleInfo
from audit.bundledraft import appearing
from audit.bundleplan import Order, Origins, Plan, page_bytes, plan
from audit.digest import sha256
from audit.errors import Unavailable
from audit.signing import SigningKey
from audit.ustar import Writer


def write_bundle(order: Order, origins: Origins, destination: Path, recipients: Sequence[str] = ()) -> BundleInfo:
    """Afterwards the bundle lies at `destination`, whole; what it is. With recipients only they can read it.

    Usage: something is already there. Otherwise errors as `bundleplan.plan` and `age.encrypt`.
    """
    with _staging(destination) as staged:
        planned = plan(order, origins, staged)
        place = staged / "plain.tar" if recipients else destination
        with appearing(place) as file:
            _write(planned, origins.key, file)
        if recipients:
            age.encrypt(place, destination, recipients)
    return planned.info


@contextmanager
def _staging(destination: Path) -> Iterator[Path]:
    """A private folder on the same disk, gone afterwards."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent)
    except OSError as error:
        raise Unavailable(f"cannot write: {error.strerror}", destination) from error
    with folder as name:
        try:
            yield Path(name)
        except OSError as error:
            raise Unavailable(f"cannot write: {error.strerror}", destination) from error


def _write(planned: Plan, key: SigningKey, file: BinaryIO) -> None:
    """The bag around the payload, as a tar."""
    payload = {PAYLOAD + name: contents for name, contents in planned.payload.items()}
    manifest = bag.manifest({name: contents.sha256 for name, contents in payload.items()})
    tags = {
        bag.BAGIT: bag.DECLARATION,
        bag.INFO: bag.info(planned.info.identifier, {name: contents.size for name, contents in payload.items()}),
        bag.MANIFEST: manifest,
        SIGNATURE: sshsig.sign(manifest, key),
        GUIDE: planned.guide,
        PAGE: page_bytes(),
    }
    tags[bag.TAG_MANIFEST] = bag.manifest({name: sha256(raw) for name, raw in tags.items()})
    writer = Writer(file)
    for name in sorted([*payload, *tags]):
        inner = f"{planned.info.folder}/{name}"
        if name in tags:
            writer.add(inner, len(tags[name]), [tags[name]])
        else:
            contents = payload[name]
            writer.add(inner, contents.size, contents.chunks(), executable=contents.executable)
    writer.close()
