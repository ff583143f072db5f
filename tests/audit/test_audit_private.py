"""A client's own events: registered with its specification, in its own bundle, replayed from there; in no other's."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import browser
from bundle_case import ANCHOR, parts
from ledger_case import BUILDER, COMPARE, INTERNAL, KEY, home_at, metadata, provenance
from test_audit_bundle_others import followed, unpacked
from test_audit_page import FILE, verdict

from audit.bundleplan import Order, Origins
from audit.bundlereplay import replay_bundle
from audit.bundleverify import verify_bundle
from audit.bundlewrite import write_bundle
from audit.digest import digest_path, dir_hash, sha256
from audit.errors import Inconsistent
from audit.home import Home
from audit.receipt import parse_receipt
from audit.registration import register_spec
from audit.resource import Subject
from audit.sealing import StageRun, seal_run
from audit.source import source_tree
from audit.statement import core_bytes
from engine.errors import SpecError
from golden.case import HERE
from registry import regimes
from registry.record import record
from stages import features, ingest, register, registered
from stages.progress import Progress
from stages.stage import SPEC, Context, Stage, run
from stages.workers import Workers

CLIENTS = ("acme", "globex")
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)

# what a replay runs here: the registered events, by their ids
REPLAY = """\
import json, pathlib, sys
home = pathlib.Path("artifacts") / sys.argv[1]
events = json.loads((home / "register" / "private.json").read_bytes())
(home / "fit").mkdir()
(home / "fit" / "result.json").write_text(json.dumps([event["id"] for event in events]))
"""

EVENT = """\
schema_version: 1
id: {client}_price_rise
version: 1
class: regime_change
title: {secret}
effective: 2022-03-01
persistence: permanent
regions: [US]
channels: [stores]
mechanism: Prices rise by a tenth.
reason: Told by the client.
confidence: high
sources: []
unsourced: true
"""


def secret(client: str) -> str:
    return f"The price rise that only {client} knows of"


class Agency:
    """A project with a forecast and a private event for each client, in one git repository and one home."""

    def __init__(self, folder: Path, *, tracked: bool) -> None:
        self.root = folder / "project"
        self.home: Home = home_at(folder / "home")
        case = HERE / "national" / "project"
        for path in (path for path in case.rglob("*") if path.is_file()):
            self.write(str(path.relative_to(case)), path.read_text())
        self.write("requirements.lock", f"pydantic=={version('pydantic')} \\\n    --hash=sha256:00\n")
        self.write("stages/__init__.py", "")
        self.write("stages/replay.py", REPLAY)
        self.write("stages/compare.py", COMPARE)
        self.write(".gitignore", "/artifacts/\n" + ("" if tracked else "/registry/private/\n"))
        for client in CLIENTS:
            self.write(
                f"registry/private/{client}/{client}_price_rise.yaml",
                EVENT.format(client=client, secret=secret(client)),
            )
            record(self.root / "registry/private" / client, (), date(2026, 1, 1), f"told by {client}")
        self.declare()
        subprocess.run(["git", "init", "-q", str(self.root)], check=True)
        subprocess.run(["git", "-C", str(self.root), "add", "."], check=True)

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def declare(self) -> None:
        """params.yaml pins each client's events as they are now."""
        spec = yaml.safe_load((HERE / "national" / "project" / "params.yaml").read_text())["specs"]["national"]
        specs: dict[str, Any] = {}
        for client in CLIENTS:
            place = f"registry/private/{client}"
            own = regimes.own(self.root / registered.REGIMES, self.root / place)
            pin = {"folder": place, "sha256": regimes.Registry(own).digest}
            known = {**spec["detect"], "registered": {**spec["detect"]["registered"], "private": pin}}
            specs[client] = {**spec, "name": client, "detect": known}
        self.write("params.yaml", yaml.safe_dump({"forecasts": list(CLIENTS), "specs": specs}))

    def context(self, client: str) -> Context:
        return Context(
            root=self.root,
            home=self.home.root,
            forecast=client,
            workers=Workers(0, None, Progress(quiet=True)),
            fingerprint_sha256="f" * 64,
            source=None,
            key=KEY,
            clock=lambda: MOMENT,
            metadata=lambda *_: metadata(),
        )

    def register(self, client: str) -> Context:
        """The stages ingest, features and register, as they are."""
        context = self.context(client)
        run(ingest.STAGE, context)
        run(features.STAGE, context)
        run(register.STAGE, context)
        return context

    def seal(self, client: str) -> None:
        context = self.register(client)
        subprocess.run([sys.executable, "-m", "stages.replay", client], cwd=self.root, check=True, env={})
        name = context.artifact_name("fit/result.json")
        stated = core_bytes(provenance("fit", (Subject.of(name, digest_path(self.root / name)),), client))
        receipt = parse_receipt(context.artifact("register/receipt.json").read_bytes())
        source, facts = source_tree(self.root), metadata()
        ledger, store = self.home.writer(KEY), self.home.store
        seal_run(ledger, store, self.root, client, [StageRun(stated, facts)], source, receipt, INTERNAL, BUILDER, facts)

    def bundle(self, client: str, path: Path, *, light: bool = False) -> Path:
        ledger = self.home.reader()
        with ledger.trusted() as log:
            origins = Origins(log, self.home.store, self.home.keyring.chain(), KEY)
            write_bundle(Order(client, light), origins, path)
        return path


@pytest.fixture(scope="module", params=[False, True], ids=["ignored by git", "tracked by mistake"])
def agency(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Agency:
    made = Agency(tmp_path_factory.mktemp("agency"), tracked=request.param)
    for client in CLIENTS:
        made.seal(client)
    return made


def everything(bundle: Path) -> bytes:
    """Every byte of the bundle, and of whatever in it is base64."""
    raw = bundle.read_bytes()
    coded = re.findall(rb"[A-Za-z0-9+/]{24,}={0,2}", raw)
    return raw + b"".join(base64.b64decode(text[: len(text) // 4 * 4] if b"=" not in text else text) for text in coded)


def replayed(bundle: Path, workdir: Path) -> list[str]:
    """The events that a replay of the bundle saw; it must be identical."""
    workdir.mkdir()
    found = replay_bundle(bundle, ANCHOR, workdir, lambda: "2024-02-03T04:05:06Z", sys.executable, (sys.executable,))[1]
    assert found.verdict.verdict == "identical"
    (result,) = (workdir / "tree/artifacts").glob("*/fit/result.json")
    events: list[str] = json.loads(result.read_bytes())
    return events


@pytest.mark.parametrize("light", [False, True], ids=["whole", "light"])
@pytest.mark.parametrize(("client", "other"), [CLIENTS, CLIENTS[::-1]])
def test_a_bundle_holds_its_own_private_event_and_no_others(
    agency: Agency, tmp_path: Path, client: str, other: str, light: bool
) -> None:
    bundle = agency.bundle(client, tmp_path / "b.tar", light=light)
    verify_bundle(bundle, ANCHOR)
    held = everything(bundle)
    assert secret(client).encode() in held
    for told in (secret(other), f"{other}_price_rise", f"told by {other}"):
        assert told.encode() not in held
    assert not [name for name in parts(bundle).files if "registry/private" in name]
    assert replayed(bundle, tmp_path / "work") == [f"{client}_price_rise"]


@pytest.mark.parametrize("light", [False, True], ids=["whole", "light"])
def test_the_page_and_a_plain_shell_check_it_too(agency: Agency, tmp_path: Path, light: bool) -> None:
    bundle = agency.bundle("acme", tmp_path / "b.tar", light=light)
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    assert followed(unpacked(bundle, tmp_path / "bag"), tmp_path / "root.pem") == [f"{step} ok" for step in range(1, 8)]
    with browser(tmp_path / "profile") as page:
        page.open(FILE)
        assert verdict(page, bundle)[0] == "verified"


def test_what_a_client_gets_replays_where_no_private_folder_is(agency: Agency, tmp_path: Path) -> None:
    bundle = agency.bundle("acme", tmp_path / "b.tar")
    replayed(bundle, tmp_path / "work")
    assert not (tmp_path / "work" / "tree" / "registry" / "private").exists()


def test_the_registered_events_are_those_a_stage_reads(agency: Agency) -> None:
    known = registered.events(agency.context("acme"))
    shipped = regimes.load(agency.root / registered.REGIMES)
    assert [event.id for event in known.events if event not in shipped.events] == ["acme_price_rise"]
    assert known.digest != shipped.digest


def test_a_statement_names_the_registry_and_the_private_events_it_used(agency: Agency) -> None:
    context = agency.context("acme")

    def judge(place: Context, out: Path) -> None:
        (out / "digest").write_text(registered.events(place).digest)

    reads = (registered.PRIVATE, SPEC)
    run(Stage("judged", reads=reads, run=judge, inputs=lambda _: (registered.REGIMES,)), context)
    stated = json.loads(context.artifact("statements/judged.json").read_bytes())["predicate"]["buildDefinition"]
    digests = {item["name"]: item["digest"] for item in stated["resolvedDependencies"]}
    assert digests[registered.REGIMES] == {"dirHash": dir_hash(agency.root / registered.REGIMES)}
    private = context.artifact(registered.PRIVATE)
    assert digests[context.artifact_name(registered.PRIVATE)] == {"sha256": sha256(private.read_bytes())}


def test_without_private_events_the_registry_is_the_one_that_ships(agency: Agency) -> None:
    assert registered.private_events(agency.root, None) == regimes.NO_EVENTS == b"[]"


def test_private_events_that_are_not_the_pinned_ones_are_not_registered(tmp_path: Path) -> None:
    agency = Agency(tmp_path, tracked=False)
    agency.register("acme")
    first = agency.context("acme").artifact("register/receipt.json").read_bytes()
    place = "registry/private/acme"
    edited = EVENT.format(client="acme", secret="Another").replace("\nversion: 1", "\nversion: 2")
    agency.write(f"{place}/acme_price_rise.yaml", edited)
    record(agency.root / place, (), date(2026, 1, 2), "corrected")
    with pytest.raises(
        SpecError, match=r"registered\.private\.sha256: expected [0-9a-f]{64}, of registry/private/acme"
    ):
        agency.register("acme")
    agency.declare()
    agency.register("acme")  # an edit of the events is another specification of the same data
    second = agency.context("acme").artifact("register/receipt.json").read_bytes()
    numbers = [json.loads(raw)["registration"]["number"] for raw in (first, second)]
    assert numbers == [1, 2]


def test_a_specification_is_not_registered_twice_with_other_files_beside_it(tmp_path: Path) -> None:
    home = home_at(tmp_path / "home")
    (tmp_path / "spec.json").write_bytes(b"{}")
    (tmp_path / "beside.json").write_bytes(b"[]")

    def registration() -> object:
        ledger, store = home.writer(KEY), home.store
        spec, place = tmp_path / "spec.json", "artifacts/a/register"
        beside = [(tmp_path / "beside.json", f"{place}/beside.json")]
        digests = ("1" * 64, "2" * 64)
        return register_spec(
            ledger, store, spec, f"{place}/spec.json", "a", *digests, INTERNAL, BUILDER, metadata(), beside
        )

    assert registration() == registration()
    (tmp_path / "beside.json").write_bytes(b"[1]")
    with pytest.raises(Inconsistent, match="other files beside it"):
        registration()
