"""A tiny project with real evidence: a key, a ledger, a store, and a pipeline of two stages that really runs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from audit.digest import digest_path, sha256
from audit.home import Home
from audit.kinds import Kind
from audit.ledger import Ledger, Pending
from audit.receipt import Receipt, receipt_bytes
from audit.registration import register_spec
from audit.resource import Subject
from audit.run import receipt_name, statement_name
from audit.sealing import SealedRun, StageRun, seal_run
from audit.signing import SigningKey
from audit.source import source_tree
from audit.statement import (
    BuildDefinition,
    Builder,
    Detail,
    ExternalParameters,
    InternalParameters,
    Metadata,
    Provenance,
    RunDetails,
    Statement,
    Verdict,
    VerdictStatement,
    core_bytes,
    with_metadata,
)

KEY = SigningKey.from_seed(bytes(range(32)))
PEM = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
BUILDER = Builder(version={"noptik": "0.1.0"})
INTERNAL = InternalParameters(profile="det-1", profile_sha256="a" * 64, fingerprint_sha256="b" * 64)
FORECAST = "retail"
STATED = {"fit": ["result.json", "posterior"]}

REPLAY = '''\
"""Runs the pipeline again: every number of the data times the registered factor."""
import json, os, pathlib, sys
forecast = sys.argv[1]
home = pathlib.Path("artifacts") / forecast
factor = json.loads((home / "register" / "spec.json").read_bytes())["factor"]
assert (home / "register" / "receipt.json").exists()
assert not (home / "fit").exists() and "SECRET" not in os.environ
numbers = [float(x) * factor for x in pathlib.Path("data/input.csv").read_text().split()]
(home / "fit" / "posterior").mkdir(parents=True)
(home / "fit" / "result.json").write_text(json.dumps(numbers))
for i, number in enumerate(numbers):
    (home / "fit" / "posterior" / f"c{i}").write_text(repr(number))
'''

COMPARE = '''\
"""Prints how far two lists of numbers lie apart; exits 1 when they are no such lists."""
import json, pathlib, sys
a, b = (json.loads(pathlib.Path(p).read_text()) for p in sys.argv[1:])
rel = max(abs(x - y) / abs(x) for x, y in zip(a, b, strict=True))
print(json.dumps({"max_rel": rel, "max_ulp": rel * 2**52}, separators=(",", ":")).replace("e-0", "e-"))
'''


def metadata(second: int = 0) -> Metadata:
    """Volatile facts; a test that must not depend on them varies `second`."""
    stamp = f"2024-01-01T00:00:{second:02d}Z"
    return Metadata(started_on=stamp, finished_on=stamp, host="h", cpu="c", libc="l", python="p")


def statement(stage: str, content: str, forecast: str = FORECAST, second: int | None = 0) -> Statement:
    """A stage statement about one artifact that holds `content`."""
    name = f"artifacts/{forecast}/{stage}/{sha256(content.encode())[:8]}"
    subject = {"name": name, "digest": {"sha256": sha256(content.encode())}, "annotations": {"size": 1, "kind": "file"}}
    return provenance(stage, (Subject.model_validate(subject),), forecast, second)


def provenance(stage: str, subjects: tuple[Subject, ...], forecast: str, second: int | None = None) -> Statement:
    """A stage statement about `subjects`; without metadata if `second` is None."""
    build = BuildDefinition(
        external_parameters=ExternalParameters(forecast=forecast, stage=stage),
        internal_parameters=INTERNAL,
        resolved_dependencies=(),
    )
    details = RunDetails(builder=BUILDER, metadata=None if second is None else metadata(second))
    return Statement(subject=subjects, predicate=Provenance(build_definition=build, run_details=details))


def verdict(content: str, forecast: str = FORECAST) -> VerdictStatement:
    """A failed gate about one artifact."""
    detail = Detail(name="rhat", expected="below 1.01", found=content)
    found = Verdict(verdict="failed_gate", forecast=forecast, details=(detail,), metadata=metadata())
    return VerdictStatement(subject=statement("fit", content, forecast).subject, predicate=found)


def stages(*contents: str, kind: Kind = "stage", second: int = 0) -> list[Pending]:
    """One pending stage statement for each content."""
    return [Pending(kind, statement("fit", content, second=second)) for content in contents]


@dataclass(frozen=True)
class Case:
    """The project at `root`, its evidence in `home`."""

    root: Path
    home: Home

    @property
    def ledger(self) -> Ledger:
        return self.home.writer(KEY)

    @property
    def database(self) -> Path:
        return self.home.root / "ledger.sqlite"

    def path(self, name: str) -> Path:
        return self.root / "artifacts" / FORECAST / name

    def register(self, data: str = "data", second: int = 0) -> Receipt:
        """The project's specification, registered; its receipt in the workspace."""
        receipt = register_spec(
            self.ledger,
            self.home.store,
            self.path("register/spec.json"),
            f"artifacts/{FORECAST}/register/spec.json",
            FORECAST,
            sha256(data.encode()),
            sha256(b"holdout"),
            INTERNAL,
            BUILDER,
            metadata(second),
        )
        (self.root / receipt_name(FORECAST, "register")).write_bytes(receipt_bytes(receipt))
        return receipt

    def run(self) -> None:
        """Afterwards the stage `fit` has run in the workspace."""
        subprocess.run([sys.executable, "-m", "stages.replay", FORECAST], cwd=self.root, check=True, env={})

    def seal(self, receipt: Receipt, second: int = 0, stated: dict[str, list[str]] = STATED) -> SealedRun:
        """The workspace, stated and sealed; the receipt in the workspace."""
        cores = {}
        for stage, names in stated.items():
            subjects = tuple(
                Subject.of(f"artifacts/{FORECAST}/{stage}/{name}", digest_path(self.path(f"{stage}/{name}")))
                for name in names
            )
            cores[stage] = core_bytes(provenance(stage, subjects, FORECAST))
            place = self.root / statement_name(FORECAST, stage)
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(cores[stage])
        sealed = seal_run(
            self.ledger,
            self.home.store,
            self.root,
            FORECAST,
            [StageRun(core, metadata(second)) for core in cores.values()],
            source_tree(self.root),
            receipt,
            INTERNAL,
            BUILDER,
            metadata(second),
        )
        place = self.root / receipt_name(FORECAST, "seal")
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(receipt_bytes(sealed.receipt))
        return sealed


def home_at(folder: Path, database: str | None = None) -> Home:
    """The evidence in `folder`, with the log in `database`: root of trust and private key are the published one."""
    home = Home(folder, database)
    home.keyring.begin(KEY)
    private = folder / "keys" / "ledger.pem"
    if not private.exists():
        private.write_bytes(PEM)
        private.chmod(0o600)
    return home


def project(folder: Path, factor: str = "2.0", lock: str | None = None, database: str | None = None) -> Case:
    """A new project below `folder`: source, data, lock and specification, nothing run yet."""
    case = Case(folder / "project", home_at(folder / "home", database))
    files = {
        "requirements.lock": lock or f"pydantic=={version('pydantic')} \\\n    --hash=sha256:00\n",
        "data/input.csv": "1.5 2.5 3.5",
        "stages/__init__.py": "",
        "stages/replay.py": REPLAY,
        "stages/compare.py": COMPARE,
        f"artifacts/{FORECAST}/register/spec.json": f'{{"factor":{factor}}}',
    }
    for name, text in files.items():
        (case.root / name).parent.mkdir(parents=True, exist_ok=True)
        (case.root / name).write_text(text)
    return case


def sealed_project(folder: Path, database: str | None = None) -> tuple[Case, SealedRun]:
    """A project that was registered, run and sealed."""
    case = project(folder, database=database)
    receipt = case.register()
    case.run()
    return case, case.seal(receipt)


def restate(statement: Statement, second: int) -> Statement:
    """The same core at another time."""
    return with_metadata(statement, metadata(second))
