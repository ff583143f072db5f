"""The runner: a stage's folder appears whole or not at all, what it read is stated, an error is a line and a code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from audit import canonical
from audit.digest import digest_path, sha256
from audit.errors import Malformed, Tampered, Unavailable
from engine import precision
from engine.errors import SpecError
from engine.spec import parse_spec
from engine.table import ipc_bytes, read_parquet, write_parquet
from stages import progress, stage
from stages.stage import Context, Stage
from stages.workers import Workers
from tests import small
from tests.fresh import REPOSITORY, defaults

CLOCK = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FINGERPRINT = "f" * 64
HOME = REPOSITORY / ".noptik" / "test-home"  # one for all: the machine's fingerprint is measured once
INPUT = "artifacts/small/earlier/table.json"

Run = Callable[[Context, Path], None]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A project with one specification, one artifact of an earlier stage, and a clock that stands still."""
    declare(tmp_path, {"small": small.raw()})
    (tmp_path / INPUT).parent.mkdir(parents=True)
    (tmp_path / INPUT).write_bytes(b'{"a":1}')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "small.csv").write_bytes(b"client\n")
    return Context(
        root=tmp_path,
        home=tmp_path / ".noptik",
        forecast="small",
        workers=Workers(0, None, progress.Progress(quiet=True)),
        fingerprint_sha256=FINGERPRINT,
        source=None,
        key=None,
        clock=lambda: CLOCK,
        metadata=stage.here,
    )


def declare(root: Path, specs: dict[str, object]) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump({"forecasts": list(specs), "specs": specs}), "utf-8")


def writes(text: bytes = b"{}") -> Run:
    def run(_: Context, out: Path) -> None:
        (out / "made.json").write_bytes(text)

    return run


def made(run: Run) -> Stage:
    return Stage("made", reads=("earlier/table.json",), run=run, inputs=lambda _: ("data/small.csv",))


def left(context: Context) -> list[str]:
    """Everything under the forecast's artifacts, hidden files too."""
    folder = context.artifact("")
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def statement(context: Context) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(context.artifact("statements/made.json").read_bytes())
    return found


# what a run leaves


def test_a_stage_leaves_its_folder_its_statement_and_its_facts(context: Context) -> None:
    stage.run(made(writes()), context)
    assert left(context) == ["earlier/table.json", "made/made.json", "run/made.json", "statements/made.json"]


def test_a_statement_names_what_was_read_and_written_by_digest(context: Context) -> None:
    stage.run(made(writes(b'{"b":2}')), context)
    found = statement(context)
    (subject,) = found["subject"]
    assert subject["name"] == "artifacts/small/made/made.json"
    assert subject["digest"] == {"sha256": sha256(b'{"b":2}')}
    definition = found["predicate"]["buildDefinition"]
    read = {item["name"]: item["digest"] for item in definition["resolvedDependencies"]}
    assert {name: next(iter(digest.values())) for name, digest in read.items()} == {
        INPUT: sha256(b'{"a":1}'),
        "data/small.csv": sha256(b"client\n"),
    }
    internal = definition["internalParameters"]
    assert internal["profile"] == precision.PROFILE.name
    assert internal["profileSha256"] == precision.PROFILE.sha256
    assert internal["fingerprintSha256"] == FINGERPRINT
    external = definition["externalParameters"]
    assert (external["forecast"], external["stage"]) == ("small", "made")
    assert external["specificationSha256"] == sha256(context.declared())


def test_a_statement_is_canonical_and_holds_nothing_of_when_or_where(context: Context) -> None:
    stage.run(made(writes()), context)
    raw = context.artifact("statements/made.json").read_bytes()
    assert canonical.encode(json.loads(raw)) == raw
    later = replace(context, clock=lambda: datetime(2031, 1, 1, tzinfo=UTC))
    stage.run(made(writes()), later)
    assert context.artifact("statements/made.json").read_bytes() == raw
    facts = json.loads(context.artifact("run/made.json").read_bytes())
    assert facts["startedOn"] == facts["finishedOn"] == "2031-01-01T00:00:00Z"


def test_a_folder_is_stated_by_its_dir_hash_and_a_table_also_by_its_content(context: Context) -> None:
    table = pa.table({"x": pa.array([1.5, 2.5])})

    def run(_: Context, out: Path) -> None:
        (out / "group.zarr").mkdir()
        (out / "group.zarr" / "a").write_bytes(b"1")
        write_parquet(table, out / "table.parquet")

    stage.run(made(run), context)
    folder, file = statement(context)["subject"]
    assert folder["name"].endswith("made/group.zarr")
    assert digest_path(context.artifact("made/group.zarr")).sha256 in folder["digest"].values()
    assert digest_path(context.artifact("made/table.parquet")).sha256 in file["digest"].values()
    logical = sha256(ipc_bytes(read_parquet(context.artifact("made/table.parquet"))))
    assert logical in json.dumps(file)


def test_an_unstated_stage_leaves_its_folder_alone(context: Context) -> None:
    stage.run(replace(made(writes()), stated=False), context)
    assert left(context) == ["earlier/table.json", "made/made.json"]


def test_a_second_run_replaces_what_the_first_left(context: Context) -> None:
    def other(_: Context, out: Path) -> None:
        (out / "other.json").write_bytes(b"[]")

    stage.run(made(writes()), context)
    stage.run(made(other), context)
    assert [name for name in left(context) if name.startswith("made/")] == ["made/other.json"]


# what a failure leaves


def fails(_: Context, out: Path) -> None:
    (out / "half.json").write_bytes(b"half")
    raise SpecError("on purpose")


def interrupted(_: Context, out: Path) -> None:
    (out / "half.json").write_bytes(b"half")
    raise KeyboardInterrupt


@pytest.mark.parametrize(("run", "error"), [(fails, SpecError), (interrupted, KeyboardInterrupt)])
@pytest.mark.parametrize("before", [False, True])
def test_a_stage_that_fails_leaves_nothing_not_even_what_was_there(
    context: Context, run: Run, error: type[BaseException], before: bool
) -> None:
    if before:
        stage.run(made(writes()), context)
    with pytest.raises(error):
        stage.run(made(run), context)
    assert left(context) == ["earlier/table.json"]
    stage.run(made(writes()), context)
    assert "made/made.json" in left(context)


def test_what_a_killed_run_left_half_done_is_no_part_of_the_next(context: Context) -> None:
    partial = context.artifact(".made.partial")
    partial.mkdir(parents=True)
    (partial / "stale.json").write_bytes(b"stale")
    stage.run(made(writes()), context)
    assert left(context) == ["earlier/table.json", "made/made.json", "run/made.json", "statements/made.json"]


@pytest.mark.parametrize("name", [INPUT, "data/small.csv"])
def test_an_input_changed_while_in_use_is_tampering_and_nothing_is_left(context: Context, name: str) -> None:
    def run(place: Context, out: Path) -> None:
        writes()(place, out)
        (place.root / name).write_bytes(b'{"a":2}')

    with pytest.raises(Tampered, match="input changed while it was in use") as refused:
        stage.run(made(run), context)
    assert refused.value.where == name
    assert refused.value.found == sha256(b'{"a":2}')
    assert not context.artifact("made").exists()


def test_an_input_that_is_not_there_is_unavailable_and_nothing_is_touched(context: Context) -> None:
    stage.run(made(writes()), context)
    before = left(context)
    (context.root / "data" / "small.csv").unlink()
    with pytest.raises(Unavailable, match=r"small\.csv"):
        stage.run(made(fails), context)
    assert left(context) == before


def test_an_input_that_is_a_link_is_refused(context: Context) -> None:
    (context.root / "data" / "small.csv").rename(context.root / "data" / "real.csv")
    (context.root / "data" / "small.csv").symlink_to("real.csv")
    with pytest.raises(Malformed):
        stage.run(made(writes()), context)


# params.yaml


def test_one_specification_written_two_ways_is_one(context: Context) -> None:
    first = context.declared()
    values = small.raw()
    values["model"]["level_scale"] = 0.50
    values["model"]["media"]["adstock"]["alpha_a"] = 3  # an integer where a number is declared
    declare(context.root, {"small": dict(reversed(values.items()))})
    assert context.declared() == first
    assert parse_spec(first).name == "small"


def test_a_forecast_that_is_not_declared_is_unavailable_and_the_others_are_named(context: Context) -> None:
    with pytest.raises(Unavailable, match="expected a specification named other, found small"):
        stage.declared_spec(context.root, "other")


def test_a_specification_under_another_name_is_refused(context: Context) -> None:
    declare(context.root, {"other": small.raw()})
    with pytest.raises(Malformed, match="specification's name"):
        stage.declared_spec(context.root, "other")


@pytest.mark.parametrize("text", ["", "[]", "specs: 3", "a: b: c", "\x00", "forecasts: [x]"])
def test_params_that_are_no_mapping_of_specifications_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text, "utf-8")
    with pytest.raises(Malformed):
        stage.load_params(tmp_path)


def test_params_that_are_not_there_are_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot read params\.yaml"):
        stage.load_params(tmp_path)


# environment


@pytest.mark.parametrize("text", ["-1", "two", "1e3", "٣", "1000", " 2"])
def test_a_number_of_workers_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NOPTIK_WORKERS", text)
    with pytest.raises(Unavailable, match="NOPTIK_WORKERS"):
        stage.worker_count()


def test_without_a_number_there_is_a_worker_for_each_core_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOPTIK_WORKERS", raising=False)
    assert stage.worker_count() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("NOPTIK_WORKERS", "0")
    assert stage.worker_count() == 0


def test_home_is_in_the_project_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOPTIK_HOME", raising=False)
    assert stage.installed(tmp_path).home == tmp_path / ".noptik"
    monkeypatch.setenv("NOPTIK_HOME", "/elsewhere")
    assert stage.installed(tmp_path).home == Path("/elsewhere")


# the command


HOSTILE = {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2", "JAX_ENABLE_X64": "0", "OMP_NUM_THREADS": "7", "TZ": "Asia/Tokyo"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The golden national case's project: small, and everything in it is committed."""
    monkeypatch.setenv("NOPTIK_HOME", str(HOME))
    monkeypatch.setenv("NOPTIK_WORKERS", "0")
    root = tmp_path / "project"
    shutil.copytree(REPOSITORY / "golden" / "national" / "project", root)
    return root


def command(project: Path, *arguments: str, code: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """`python -m stages ...` in `project`, or `code`, in a plain environment beside `environ`."""
    start = ["-c", code] if code else ["-m", "stages"]
    return subprocess.run(
        [sys.executable, *start, *arguments],
        cwd=project,
        env={**defaults(), "PYTHONPATH": str(REPOSITORY), **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def forecast_of(project: Path) -> str:
    name: str = stage.load_params(project)["forecasts"][0]
    return name


def test_a_hostile_environment_changes_no_byte(project: Path) -> None:
    name = forecast_of(project)
    done = command(project, "ingest", name, **HOSTILE)
    assert done.returncode == 0, done.stderr
    artifacts = project / "artifacts" / name
    first = {kind: digest_path(artifacts / kind).sha256 for kind in ("ingest", "statements")}
    done = command(project, "ingest", name)
    assert done.returncode == 0, done.stderr
    assert {kind: digest_path(artifacts / kind).sha256 for kind in first} == first


def test_a_process_that_imported_jax_first_is_refused(project: Path) -> None:
    code = "import jax, sys; from stages.stage import main; sys.exit(main(sys.argv[1:]))"
    done = command(project, "ingest", forecast_of(project), code=code, **precision.environment({}))
    assert done.returncode == 2
    assert "module jax: expected not imported yet, found imported" in done.stderr
    assert not (project / "artifacts").exists()


@pytest.mark.parametrize(("line", "says"), [(("nonsense", "small"), "invalid choice"), (("fit",), "required")])
def test_a_line_that_names_no_stage_or_forecast_is_usage(project: Path, line: tuple[str, ...], says: str) -> None:
    done = command(project, *line)
    assert done.returncode == 2
    assert says in done.stderr


def test_an_unknown_forecast_is_unavailable(project: Path) -> None:
    done = command(project, "ingest", "nobody")
    assert done.returncode == 2
    assert "expected a specification named nobody" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_table_over_its_declared_size_is_refused_unread_and_nothing_is_written(project: Path) -> None:
    name = forecast_of(project)
    params = stage.load_params(project)
    params["specs"][name]["data"]["max_bytes"] = 100
    (project / "params.yaml").write_text(yaml.safe_dump(dict(params)), "utf-8")
    done = command(project, "ingest", name)
    assert done.returncode == 1
    assert "100" in done.stderr
    assert "file_too_large" in done.stderr
    assert not (project / "artifacts" / name / "ingest").exists()


def test_a_table_that_is_not_there_is_unavailable(project: Path) -> None:
    name = forecast_of(project)
    (project / stage.load_params(project)["specs"][name]["data"]["path"]).unlink()
    done = command(project, "ingest", name)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


# progress


def test_off_a_terminal_progress_is_plain_lines_and_short_work_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([0.0, 0.5, 1.0, 3.0, 4.0, 14.0, 15.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(seconds))
    with progress.Progress().task("chains", 6) as advance:
        for _ in range(6):
            advance()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["chains: 3/6 after 3 s", "chains: 5/6 after 14 s", "chains: 6/6 after 15 s"]


def test_quick_work_and_quiet_work_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in (progress.Progress(), progress.Progress(quiet=True)):
        with shown.task("chains", 3) as advance:
            for _ in range(3):
                advance()
    assert capsys.readouterr().err == ""
