"""The stage `features`: replays with sockets refused, gives the same bytes everywhere, and stops at whatever changed.

What is recorded here is recorded over real HTTP from a service on loopback, whose model is `registry.nearest`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.digest import sha256
from audit.errors import AuditError, DigestMismatch, Inconsistent, Malformed, Unavailable
from audit.recording import Recording, Recordings, Request, Settings
from engine import precision
from engine.creative_errors import CreativeError
from engine.errors import EngineError, SpecError
from engine.table import read_parquet
from golden import creatives
from golden.case import HERE, How
from golden.forecast import context
from registry import nearest
from registry.errors import AnswerNotAllowedError, RegistryError, UnsoundPromptError
from stages.answer_local import Embedded
from stages.stage import Context, load, run
from tests.creatives.server import serving
from tests.fresh import REPOSITORY, defaults

GEO = HERE / "geo"
CREATIVES = "data/creatives/geo/creatives.jsonl"
RECORDINGS = "data/creatives/geo/recordings.jsonl"
PROMPT = "registry/prompts/offer_v1"
INJECTION = "social_injection"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The golden geo case, laid out as a project."""
    shutil.copytree(GEO / "project", tmp_path / "geo")
    return tmp_path / "geo"


def ran(project: Path, *stages: str) -> Context:
    made = context(project, How(0, None, False))
    for name in stages or ("ingest", "features"):
        run(load(name), made)
    return made


def edited(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_bytes()))), "utf-8")


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


# what is left


def test_the_case_is_what_ships_moved() -> None:
    for name, raw in creatives.files().items():
        assert (GEO / "project" / name).read_bytes() == raw, name


def test_every_row_rests_on_a_recording_that_is_kept(project: Path) -> None:
    made = ran(project)
    kept = {one.sha256 for one in Recordings.parse(made.artifact("features/recordings.jsonl").read_bytes(), "kept")}
    rows = {
        name: read_parquet(made.artifact(f"features/{name}.parquet")).to_pylist()
        for name in ("offer", "scene", "words", "setting", "picture")
    }
    assert {row["recording"] for each in rows.values() for row in each if row["recording"]} == kept
    assert all(row["recording"] for name in ("offer", "scene", "words", "setting") for row in rows[name])
    looked_at = [row for row in rows["picture"] if row["recording"]]
    assert looked_at
    assert all(row["feature.width"] > 0.0 for row in looked_at)
    without = [row for row in rows["picture"] if not row["recording"]]
    assert without
    assert {row["feature.width"] for row in without} == {None}
    assert {row["feature.offer"] for row in rows["offer"]} >= {"none", "discount", "trial"}


def test_the_statement_says_who_was_asked_under_which_prompt(project: Path) -> None:
    made = ran(project)
    definition = json.loads(made.artifact("statements/features.json").read_bytes())["predicate"]["buildDefinition"]
    said = definition["externalParameters"]["parameters"]
    manifest = json.loads((project / PROMPT / "manifest.json").read_bytes())
    assert (said["offer.model"], said["offer.revision"]) == (manifest["model"], manifest["revision"])
    assert said["offer.prompt"] == "offer_v1"
    assert len(said["offer.prompt_sha256"]) == len(said["offer.recordings_sha256"]) == 64
    read = {item["name"] for item in definition["resolvedDependencies"]}
    assert {"data/creatives/geo", PROMPT, "requirements-prompts.lock"} < read


def test_a_forecast_without_creatives_keeps_its_table(tmp_path: Path) -> None:
    shutil.copytree(HERE / "break" / "project", tmp_path / "break")
    made = ran(tmp_path / "break")
    assert made.artifact("features/table.parquet").read_bytes() == made.artifact("ingest/table.parquet").read_bytes()
    assert sorted(path.name for path in made.artifact("features").iterdir()) == ["record.json", "table.parquet"]


# the same bytes everywhere, with sockets refused


def alone(project: Path, *before: str, **environ: str) -> str:
    """Both stages in a process of their own; the digests of what they left."""
    shutil.rmtree(project / "artifacts", ignore_errors=True)
    inside = precision.environment({**defaults(), **environ}) | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [*before, sys.executable, "-m", "tests.stages.features_case", str(project)],
        cwd=project, env=inside, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_recorded_then_replayed_gives_the_same_bytes_whatever_varies(project: Path) -> None:
    committed = (project / RECORDINGS).read_bytes()
    (project / RECORDINGS).unlink()
    with serving(nearest.answer) as chat:
        recorded(project, chat.base_url)
    assert (project / RECORDINGS).read_bytes() == committed
    emulator = shutil.which("qemu-x86_64")
    assert emulator, "on Debian: apt-get install qemu-user"
    found = [
        alone(project),
        alone(project, PYTHONHASHSEED="1", LC_ALL="tr_TR.UTF-8", TZ="Asia/Kathmandu"),
        alone(project, PYTHONHASHSEED="4242", OMP_NUM_THREADS="2", OPENBLAS_NUM_THREADS="2"),
        alone(project, "taskset", "-c", str(min(os.sched_getaffinity(0)))),
        alone(project, emulator, "-cpu", "Haswell,check=off"),
    ]
    assert len(set(found)) == 1
    made = context(project, How(0, None, False))
    for name in ("table.parquet", "offer.parquet", "recordings.jsonl"):
        expected = GEO / "expected" / "features" / name
        assert made.artifact(f"features/{name}").read_bytes() == expected.read_bytes()


# recording


def recorded(project: Path, base_url: str, code: int = 0) -> str:
    environ = {**defaults(), "PYTHONPATH": str(REPOSITORY), "NOPTIK_LM_BASE_URL": base_url}
    done = subprocess.run(
        [sys.executable, "-m", "stages.cli", "record", "geo"],
        cwd=project, env=environ, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_only_what_is_missing_is_asked(project: Path) -> None:
    kept = lines(project / RECORDINGS)
    (project / RECORDINGS).write_bytes(b"".join(kept[:7] + kept[9:]))
    with serving(nearest.answer) as chat:
        assert recorded(project, chat.base_url) == "geo: 2 new recordings in data/creatives/geo/recordings.jsonl\n"
        assert len(chat.seen) == 2
        assert recorded(project, chat.base_url).startswith("geo: 0 new recordings")
        assert len(chat.seen) == 2
    assert lines(project / RECORDINGS) == kept


def test_an_endpoint_is_needed_to_record_and_named(project: Path) -> None:
    said = recorded(project, "", code=2)
    assert said == "error: NOPTIK_LM_BASE_URL: expected the URL of an OpenAI-compatible endpoint, found none\n"


def obeys(messages: Any) -> str:
    """A model that does what a creative tells it to: it leaks its instructions in a form of its own."""
    said = nearest.answer(messages)
    return json.dumps({"system_prompt": str(messages[0])[:50]}) if "ignore" in str(messages[-1]).lower() else said


def test_an_injection_that_a_model_obeys_is_recorded_as_it_is_and_stops_the_stage(project: Path) -> None:
    injected = next(json.loads(line) for line in lines(REPOSITORY / CREATIVES) if INJECTION.encode() in line)
    held = [json.loads(line) for line in lines(project / CREATIVES)]
    assert "ignore" in (injected["headline"] + injected["body"]).lower()
    moved = {**injected, "channel": "tv", "first": held[0]["first"], "last": held[0]["last"], "locations": []}
    every = sorted([*held, moved], key=lambda each: str(each["id"]))
    texts = [json.dumps(each, sort_keys=True, ensure_ascii=False, separators=(",", ":")) for each in every]
    (project / CREATIVES).write_text("".join(f"{text}\n" for text in texts), "utf-8")
    with serving(obeys) as chat:
        said = recorded(project, chat.base_url, code=1)
        assert {seen.path for seen in chat.seen} == {"/v1/chat/completions"}
    assert f"offer of {INJECTION}" in said
    with pytest.raises(RegistryError, match=f"offer of {INJECTION}: "):
        ran(project)
    assert not (project / "artifacts" / "geo" / "features").exists()


# whatever changed stops the stage, and is named

Refusal = type[AuditError | EngineError | RegistryError]


def dropped(project: Path) -> None:
    kept = lines(project / RECORDINGS)
    (project / RECORDINGS).write_bytes(b"".join(kept[:3] + kept[4:]))


def answered_otherwise(project: Path) -> None:
    raw = (project / RECORDINGS).read_bytes()
    (project / RECORDINGS).write_bytes(raw.replace(b"]]\\ndiscount", b"]]\\nbundled!", 1))


def one_byte(name: str) -> Callable[[Path], None]:
    def change(project: Path) -> None:
        path = project / PROMPT / name
        raw = bytearray(path.read_bytes())
        place = raw.index(b"offer")
        raw[place] ^= 1
        path.write_bytes(bytes(raw))

    return change


def another_value(project: Path) -> None:
    def change(signature: Any) -> Any:
        signature["outputs"][0]["values"].append("gift")
        return signature

    edited(project / PROMPT / "signature.json", change)


def another_dspy(project: Path) -> None:
    (project / "requirements-prompts.lock").write_text("dspy==3.5.0\n", "ascii")


def another_pin(project: Path) -> None:
    path = project / "params.yaml"
    text = path.read_text("utf-8")
    manifest = HERE.parent / PROMPT / "manifest.json"
    digest = sha256(manifest.read_bytes())
    assert digest in text
    path.write_text(text.replace(digest, "0" * 64), "utf-8")


def another_picture(project: Path) -> None:
    picture = sorted((project / "data/creatives/geo/images").iterdir())[0]
    picture.write_bytes(picture.read_bytes() + b"\0")


def another_channel(project: Path) -> None:
    raw = (project / CREATIVES).read_bytes()
    (project / CREATIVES).write_bytes(raw.replace(b'"channel":"tv"', b'"channel":"radio"', 1))


def no_recordings(project: Path) -> None:
    (project / RECORDINGS).unlink()


def no_prompt(project: Path) -> None:
    shutil.rmtree(project / PROMPT)


CHANGES: tuple[tuple[Callable[[Path], None], Refusal, str], ...] = (
    (dropped, Unavailable, r"(offer|scene) of \w+: no recording answers this request .*request [0-9a-f]{64}"),
    (no_recordings, Unavailable, r"offer of \w+: no recording answers this request .*none among 0 of model nearest"),
    (answered_otherwise, DigestMismatch, r"recordings\.jsonl:\d+"),
    (one_byte("template.json"), UnsoundPromptError, r"offer_v1/?.*template\.json"),
    (one_byte("program.json"), UnsoundPromptError, r"offer_v1/?.*program\.json"),
    (another_value, UnsoundPromptError, r"offer_v1/?.*signature\.json"),
    (another_dspy, UnsoundPromptError, r"dspy: expected .*3\.\d\.\d.*found .*3\.\d\.\d"),
    (another_pin, SpecError, r"data\.creatives\.offer\.sha256: expected [0-9a-f]{64}, of .*offer_v1, found 0{64}"),
    (another_picture, DigestMismatch, r"image of creative \w+"),
    (another_channel, CreativeError, r"data/creatives/geo/creatives\.jsonl: .*channel.*radio"),
    (no_prompt, Unavailable, r"offer_v1: cannot read"),
)


@pytest.mark.parametrize(("change", "error", "says"), CHANGES, ids=lambda value: getattr(value, "__name__", None))
def test_whatever_changed_stops_the_stage_and_is_named(
    project: Path, change: Callable[[Path], None], error: Refusal, says: str
) -> None:
    ran(project, "ingest")
    change(project)
    with pytest.raises(error, match=says):
        ran(project, "features")
    left = project / "artifacts" / "geo"
    assert not (left / "features").exists()
    assert not (left / ".features.partial").exists()


def test_an_answer_that_the_signature_does_not_allow_stops_the_stage(project: Path) -> None:
    (project / RECORDINGS).unlink()
    with serving(lambda messages: nearest.answer(messages).replace("]]\ndiscount", "]]\ngift")) as chat:
        said = recorded(project, chat.base_url, code=1)
    assert "gift" in said
    with pytest.raises(AnswerNotAllowedError, match=r"offer of \w+: .*gift"):
        ran(project)


def test_a_table_that_is_too_long_is_refused_unread(project: Path) -> None:
    (project / CREATIVES).write_bytes(b"x" * 1_000_001)
    with pytest.raises(Malformed, match="at most 1000000 bytes"):
        ran(project)


# what the specification may name


def respecified(project: Path, old: str, new: str) -> None:
    path = project / "params.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("field: offer,", "field: tone,", "expected a field of extractor offer, found tone"),
        ("value: discount", "value: gift", "expected one of none, discount, trial, bundle, launch, found gift"),
        ("value: null", "value: 'true'", "expected none, for urgency is a number, found true"),
    ],
)
def test_a_feature_that_no_extractor_gives_is_refused(project: Path, old: str, new: str, says: str) -> None:
    respecified(project, old, new)
    if "tone" in new:
        respecified(project, "column: offer.offer", "column: offer.tone")
    with pytest.raises(SpecError, match=says):
        ran(project)


def test_a_model_that_is_not_part_of_the_project_is_unavailable() -> None:
    asked = Request.of(
        model="gpt", revision="1", messages=[{"role": "user", "content": "x"}],
        settings=Settings(temperature=0, max_tokens=1),
    )  # fmt: skip
    with pytest.raises(Unavailable, match=r"no model of this name .*image, layout, lexicon, nearest; found gpt"):
        Embedded().answer(asked, {}, "offer of x")


def test_a_local_model_answers_a_prompt_as_the_endpoint_did(project: Path) -> None:
    replayed = read_parquet(ran(project).artifact("features/offer.parquet"))
    shutil.rmtree(project / "artifacts")
    respecified(project, "engine: replay", "engine: local")
    assert read_parquet(ran(project).artifact("features/offer.parquet")).equals(replayed)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("engine: replay, model: nearest", "engine: local, model: gpt", "expected model nearest.*found gpt"),
        ("engine: replay, model: nearest", "engine: local, model: image", "expected model nearest.*found image"),
        ("folder: data/creatives/geo", "folder: data/elsewhere", "data.creatives.folder"),
        ("folder: data/creatives/geo", "folder: data/creatives/../geo", "data.creatives.folder"),
        ("max_tokens: 200", "max_tokens: 200000", "max_tokens"),
        ("column: offer.offer", "column: Sales", "discounts.column: expected offer.offer.*found Sales"),
        ("empty: 0.0", "empty: 1e308", "empty"),
    ],
)
def test_what_the_specification_may_not_say_is_refused(project: Path, old: str, new: str, says: str) -> None:
    respecified(project, old, new)
    with pytest.raises(SpecError, match=says):
        ran(project)


def otherwise(one: Recording) -> Recording:
    said = one.response.content.replace("]]\ndiscount", "]]\nbundle")
    return Recording.of(one.request, one.response.model_copy(update={"content": said}))


def test_other_answers_after_the_registration_are_refused(project: Path) -> None:
    """Digests of recordings have no key: who rewrites an answer rewrites them too, and the register notices."""
    made = ran(project, "ingest", "features", "register")
    first = made.artifact("features/table.parquet").read_bytes()
    kept = Recordings.parse((project / RECORDINGS).read_bytes(), "kept")
    (project / RECORDINGS).write_bytes(Recordings().with_(otherwise(one) for one in kept).raw)
    ran(project, "features")
    assert made.artifact("features/table.parquet").read_bytes() != first
    with pytest.raises(Inconsistent, match="registered with other files beside it"):
        ran(project, "register")


def test_every_answer_that_cannot_be_used_is_named(project: Path) -> None:
    kept = lines(project / RECORDINGS)
    (project / RECORDINGS).write_bytes(b"".join(kept[2:]))
    with serving(lambda _: " ") as chat:
        said = recorded(project, chat.base_url, code=2).splitlines()
        assert len(chat.seen) == 2
    assert len({line for line in said if " of " in line and "said nothing" in line}) >= 1
    assert len(said) == 3
    assert "2 of " in said[-1]


def test_a_new_revision_of_a_model_is_another_request(project: Path) -> None:
    respecified(project, 'revision: "1"', 'revision: "2"')
    with pytest.raises(Unavailable, match=r"of model nearest, revision 2"):
        ran(project)


@pytest.fixture
def link(project: Path) -> Path:
    picture = sorted((project / "data/creatives/geo/images").iterdir())[0]
    elsewhere = project.parent / "elsewhere.png"
    picture.rename(elsewhere)
    picture.symlink_to(elsewhere)
    return picture


def test_a_picture_that_is_a_link_is_not_followed(project: Path, link: Path) -> None:
    assert link.is_symlink()
    with pytest.raises(Malformed, match="a symbolic link"):
        ran(project)
