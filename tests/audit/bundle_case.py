"""Bundles of the tiny project: made by the real ledger, taken apart, changed, and put together again."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ledger_case import FORECAST, KEY, REPLAY, STATED, Case, project, sealed_project, statement

from audit import bag, sshsig
from audit.bundle import SIGNATURE
from audit.bundleplan import Order, Origins
from audit.bundlereport import BundleReport
from audit.bundleverify import verify_bundle
from audit.bundlewrite import write_bundle
from audit.digest import sha256
from audit.ledger import Pending
from audit.root import Anchor
from audit.signing import SigningKey
from audit.ustar import Writer, open_tar

ANCHOR = Anchor(KEY.public)
OTHER_FORECAST = "siblingforecast"  # a forecast of the same log, whose envelopes no bundle of FORECAST may hold
SECRETS = ("first sibling secret", "second sibling secret")


def case_with_siblings(folder: Path) -> Case:
    """A sealed project, with statements of another forecast before and after it in the log."""
    case, _ = sealed_project(folder)
    for number, content in enumerate(SECRETS):
        case.ledger.append([Pending("stage", statement("fit", content, OTHER_FORECAST, number))])
    return case


ROWS = ("offer.parquet", "lexicon.parquet")  # what two extractors gave
FEATURES = ["table.parquet", *ROWS, "recordings.jsonl", "record.json"]
CREATIVES = {  # the inputs of a stage `features`, below data/creatives/; {} holds what no other file has
    "ORIGIN.md": "{}",
    "geo/creatives.jsonl": '{{"headline":"planted headline","note":"{}"}}\n',
    "geo/images/a.png": "{}",
    "geo/labels/train.jsonl": "{}",
    "geo/recordings.jsonl": '{{"request":"planted headline","response":"{}"}}\n',
    "geo/recordings-2.jsonl": "{}",
    "recordings.jsonl": "{}",
    "geo/recordings/notes.md": "{}",  # no recording: a folder of that name
    "geo/old_recordings.jsonl": "{}",
}
REPLAY_FEATURES = """
creatives = pathlib.Path("data/creatives/geo")
out = home / "features"
out.mkdir()
for name in ("table", "offer", "lexicon"):
    (out / f"{name}.parquet").write_text(f"planted in {name}")
(out / "recordings.jsonl").write_text((creatives / "recordings.jsonl").read_text() + "planted in recordings")
(out / "record.json").write_text("planted in record")
"""


def planted(name: str) -> str:
    """What the file of `CREATIVES` has and no other file of the case."""
    return f"planted in {name.replace('/', ' of ')}"


def case_with_features(folder: Path) -> Case:
    """A sealed project with creatives, recordings, and a stage `features` before `fit`."""
    case = project(folder)
    for name, text in CREATIVES.items():
        place = case.root / "data" / "creatives" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text.format(planted(name)))
    (case.root / "stages" / "replay.py").write_text(REPLAY + REPLAY_FEATURES)
    receipt = case.register()
    case.run()
    case.seal(receipt, stated={"features": FEATURES, **STATED})
    return case


def write(case: Case, path: Path, *, light: bool = False, withheld: tuple[str, ...] = ()) -> Path:
    """The bundle of the case's latest run, at `path`."""
    ledger = case.home.reader()
    with ledger.trusted() as log, ledger.reading() as attachments:
        origins = Origins(log, case.home.store, case.home.keyring.chain(), KEY, attachments.attached)
        write_bundle(Order(FORECAST, light, withheld), origins, path)
    return path


def verify(path: Path, kept: Path | None = None) -> BundleReport:
    """What the bundle is to whoever has the published key."""
    return verify_bundle(path, ANCHOR, kept)


@dataclass
class Parts:
    """The files of a bundle by their names in its folder; `executables` are names too."""

    folder: str
    files: dict[str, bytes]
    executables: frozenset[str]

    def signed_again(self, key: SigningKey = KEY) -> Parts:
        """With manifests and signature made anew: what who holds the log's key could hand out."""
        payload = {name: raw for name, raw in self.files.items() if name.startswith(bag.PAYLOAD)}
        self.files[bag.MANIFEST] = bag.manifest({name: sha256(raw) for name, raw in payload.items()})
        self.files[SIGNATURE] = sshsig.sign(self.files[bag.MANIFEST], key)
        identifier = self.files[bag.INFO].decode().split("\n")[0].removeprefix("External-Identifier: ")
        self.files[bag.INFO] = bag.info(identifier, {name: len(raw) for name, raw in payload.items()})
        return self.listed_again()

    def listed_again(self) -> Parts:
        """With the tag manifest made anew: what anyone could hand out."""
        tags = {name: sha256(raw) for name, raw in self.files.items() if not name.startswith(bag.PAYLOAD)}
        tags.pop(bag.TAG_MANIFEST, None)
        self.files[bag.TAG_MANIFEST] = bag.manifest(tags)
        return self

    def to(self, path: Path) -> Path:
        """The tar of these files, at `path`."""
        file = io.BytesIO()
        writer = Writer(file)
        for name in sorted(self.files):
            raw = self.files[name]
            writer.add(f"{self.folder}/{name}", len(raw), [raw], executable=name in self.executables)
        writer.close()
        path.write_bytes(file.getvalue())
        return path

    def on_disk(self, folder: Path) -> Path:
        """The bag as a folder below `folder`."""
        for name, raw in self.files.items():
            place = folder / self.folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(raw)
        return folder / self.folder


def parts(path: Path) -> Parts:
    """A bundle taken apart."""
    with open_tar(path) as tar:
        folder = next(iter(tar.members)).partition("/")[0]
        cut = len(folder) + 1
        files = {name[cut:]: tar.read(name, 2**30) for name in tar.members}
        return Parts(folder, files, frozenset(n[cut:] for n, member in tar.members.items() if member.executable))


def audit(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m audit ARGUMENTS`, as a user starts it."""
    repository = Path(__file__).parents[2]
    command = [sys.executable, "-m", "audit", *map(str, arguments)]
    known = {"PYTHONPATH": str(repository), "PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(command, cwd=cwd, env=known, capture_output=True, text=True, check=False)
