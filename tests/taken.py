"""A bundle taken apart into names and bytes, changed, and put together again: what an attacker's tools would do."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from audit import bag, sshsig, ustar
from audit.bag import PAYLOAD
from audit.bundle import INFO, SIGNATURE, parse_info
from audit.digest import sha256
from audit.errors import Malformed
from audit.signing import SigningKey


@dataclass(frozen=True)
class Taken:
    """The files of a bundle by their names below its one `folder`, and which of them are executable."""

    folder: str
    files: Mapping[str, bytes]
    executable: frozenset[str] = frozenset()

    @classmethod
    def apart(cls, path: Path) -> Taken:
        """The bundle at `path`. Errors as `ustar.open_tar`."""
        with ustar.open_tar(path) as tar:
            folder = next(iter(tar.members)).partition("/")[0]
            names = {name: name.removeprefix(f"{folder}/") for name in tar.members}
            files = {short: tar.read(name, 2**30) for name, short in names.items()}
            return cls(folder, files, frozenset(names[n] for n, m in tar.members.items() if m.executable))

    def with_files(self, files: Mapping[str, bytes]) -> Taken:
        """With these files put there or replaced."""
        return replace(self, files={**self.files, **files})

    def without(self, *names: str) -> Taken:
        """Without these files."""
        return replace(self, files={name: raw for name, raw in self.files.items() if name not in names})

    def listed(self) -> Taken:
        """With manifests that list what is there; the signature is left as it was."""
        payload = {name: raw for name, raw in self.files.items() if name.startswith(PAYLOAD)}
        try:
            identifier = parse_info(self.files.get(PAYLOAD + INFO, b"")).identifier
        except Malformed:
            identifier = ""
        info = bag.info(identifier, {name: len(raw) for name, raw in payload.items()})
        manifest = bag.manifest({name: sha256(raw) for name, raw in payload.items()})
        return self.with_files({bag.INFO: info, bag.MANIFEST: manifest}).tagged()

    def signed(self, key: SigningKey) -> Taken:
        """`listed`, and the manifest signed by `key`."""
        listed = self.listed()
        return listed.with_files({SIGNATURE: sshsig.sign(listed.files[bag.MANIFEST], key)}).tagged()

    def tar(self) -> bytes:
        """The bundle's bytes."""
        file = io.BytesIO()
        writer = ustar.Writer(file)
        for name in sorted(self.files):
            raw = self.files[name]
            writer.add(f"{self.folder}/{name}", len(raw), [raw], executable=name in self.executable)
        writer.close()
        return file.getvalue()

    def tagged(self) -> Taken:
        """With a tag manifest that lists what is there."""
        tags = {
            name: sha256(raw)
            for name, raw in self.files.items()
            if not name.startswith(PAYLOAD) and name != bag.TAG_MANIFEST
        }
        return self.with_files({bag.TAG_MANIFEST: bag.manifest(tags)})
