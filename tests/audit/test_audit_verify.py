"""Verification of a sealed project: what is as it was passes; every flipped byte, lost or extra file is named."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from ledger_case import (
    BUILDER,
    FORECAST,
    INTERNAL,
    STATED,
    Case,
    metadata,
    provenance,
    sealed_project,
    stages,
    verdict,
)

from audit.digest import digest_path, sha256
from audit.errors import DigestMismatch, Inconsistent, Malformed, Tampered, Unavailable, Usage
from audit.home import Home
from audit.ledger import Pending
from audit.receipt import receipt_bytes
from audit.registration import register_spec
from audit.resource import Subject
from audit.run import seal_statement
from audit.sealing import StageRun, seal_run
from audit.source import source_tree
from audit.statement import Verdict, VerdictStatement, core_bytes
from audit.verify import Report, verify


@pytest.fixture(scope="module")
def _sealed(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return sealed_project(tmp_path_factory.mktemp("sealed"))[0]


@pytest.fixture
def case(_sealed: Case, tmp_path: Path) -> Case:
    shutil.copytree(_sealed.root.parent, tmp_path / "copy", symlinks=True)
    return Case(tmp_path / "copy" / "project", Home(tmp_path / "copy" / "home"))


def check(case: Case, forecast: str | None = None) -> Report:
    return verify(case.home.reader(), case.home.store, case.root, forecast)


def check_stored(case: Case) -> Report:
    return verify(case.home.reader(), case.home.store, None)


WORKSPACE = (
    "register/spec.json",
    "register/receipt.json",
    "fit/result.json",
    "fit/posterior/c0",
    "statements/fit.json",
    "seal/receipt.json",
)


def name_of(file: str) -> str:
    """The name a message gives: of the directory, where a directory is the artifact."""
    return f"artifacts/{FORECAST}/" + ("fit/posterior" if "posterior" in file else file)


def test_a_sealed_project_verifies(case: Case) -> None:
    report = check(case)
    (known,) = report.runs
    (workspace,) = report.workspaces
    assert (workspace.forecast, workspace.latest, workspace.run) == (FORECAST, True, known.run)
    assert report.void == 0
    assert [subject.name for subject in known.run.artifacts] == [
        f"artifacts/{FORECAST}/fit/posterior",
        f"artifacts/{FORECAST}/fit/result.json",
    ]
    assert [subject.name for subject in known.artifacts][2] == f"artifacts/{FORECAST}/register/spec.json"
    assert report.stored > sum(subject.annotations.size for subject in known.artifacts)
    assert check(case, FORECAST).workspaces == report.workspaces


def test_a_registered_specification_may_also_be_a_stages_artifact(case: Case) -> None:
    case.seal(case.register(), stated={"register": ["spec.json"], **STATED})
    report = check(case)
    assert len(report.runs) == 2
    assert len({known.artifacts for known in report.runs}) == 1


def test_a_stage_that_states_another_specification_than_the_registered_is_detected(case: Case) -> None:
    receipt = case.register()
    case.path("register/spec.json").write_text('{"factor":7.0}')
    case.seal(receipt, stated={"register": ["spec.json"], **STATED})
    with pytest.raises(Inconsistent, match=r"registered artifacts/retail/register/spec.json differs"):
        check(case)


@pytest.mark.parametrize("file", WORKSPACE)
def test_a_flipped_byte_in_the_workspace_is_detected_and_named(case: Case, file: str) -> None:
    path = case.path(file)
    raw = path.read_bytes()
    for position in range(0, len(raw), max(1, len(raw) // 25)):
        path.write_bytes(raw[:position] + bytes([raw[position] ^ 4]) + raw[position + 1 :])
        with pytest.raises(Tampered) as caught:
            check(case)
        assert caught.value.exit_code == 1
        assert name_of(file) in str(caught.value)


@pytest.mark.parametrize("file", WORKSPACE)
def test_a_deleted_file_is_tampered_and_named(case: Case, file: str) -> None:
    case.path(file).unlink()
    with pytest.raises(Tampered) as caught:
        check(case)
    assert name_of(file) in str(caught.value)


@pytest.mark.parametrize(
    "file", ["fit/posterior/c9", "fit/extra", "other/x", "extra", "statements/detect.json", "seal/x", "register/x"]
)
def test_an_extra_file_is_tampered_and_named(case: Case, file: str) -> None:
    case.path(file).parent.mkdir(exist_ok=True)
    case.path(file).write_text("extra")
    with pytest.raises(Tampered) as caught:
        check(case)
    assert name_of(file) in str(caught.value)


def test_facts_of_this_workspaces_own_run_may_lie_beside_the_artifacts(case: Case) -> None:
    case.path("run").mkdir()
    for stage in ("register", "fit", "seal"):
        case.path(f"run/{stage}.json").write_text("when and where")
    check(case)


def test_an_artifact_replaced_by_a_link_to_the_same_bytes_is_refused(case: Case, tmp_path: Path) -> None:
    shutil.move(case.path("fit/result.json"), tmp_path / "elsewhere")
    case.path("fit/result.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Malformed):
        check(case)


def test_a_file_where_a_directory_was_sealed_is_refused(case: Case) -> None:
    shutil.rmtree(case.path("fit/posterior"))
    case.path("fit/posterior").write_text("x")
    with pytest.raises(Malformed):
        check(case)


@pytest.mark.parametrize("place", range(12))
def test_a_flipped_byte_in_the_store_is_detected(case: Case, place: int) -> None:
    objects = sorted(path for path in (case.home.root / "store" / "sha256").rglob("*") if path.is_file())
    path = objects[place * len(objects) // 12]
    raw = path.read_bytes() or b"\0"
    path.chmod(0o644)
    path.write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
    with pytest.raises(Tampered) as caught:
        check(case)
    assert path.name in str(caught.value)


def test_a_lost_object_of_the_store_is_unavailable_unless_something_is_tampered_too(case: Case) -> None:
    result = case.path("fit/result.json")
    name = sha256(result.read_bytes())
    (case.home.root / "store" / "sha256" / name[:2] / name).unlink()
    with pytest.raises(Unavailable, match=name):
        check(case)
    lock = case.home.root / "store" / "sha256"
    other = sha256((case.root / "requirements.lock").read_bytes())
    (lock / other[:2] / other).chmod(0o644)
    (lock / other[:2] / other).write_text("altered")
    with pytest.raises(DigestMismatch, match=other):
        check(case)


def test_a_forecast_never_reproduced_here_is_unavailable(case: Case) -> None:
    shutil.rmtree(case.root / "artifacts")
    with pytest.raises(Unavailable, match="never reproduced here"):
        check(case)
    verify(case.home.reader(), case.home.store, None)


def test_a_forecast_never_sealed_is_unavailable(case: Case) -> None:
    with pytest.raises(Unavailable, match="no sealed run"):
        check(case, "geo")


def rerun(case: Case, number: str) -> str:
    """The pipeline again on other data, sealed; the new run's id."""
    (case.root / "data/input.csv").write_text(f"1.5 2.5 {number}")
    shutil.rmtree(case.path("fit"))
    case.run()
    return case.seal(case.register()).run_id


def test_an_older_run_checked_out_again_verifies_as_not_the_latest(case: Case) -> None:
    first = check(case).runs[0].run
    shutil.copytree(case.path("."), case.root / "old")
    second = rerun(case, "9.5")
    assert [known.run.id for known in check(case).runs] == [first.id, second]
    shutil.rmtree(case.path("."))
    (case.root / "old").rename(case.path("."))
    (workspace,) = check(case).workspaces
    assert (workspace.run.id, workspace.latest) == (first.id, False)


def test_artifacts_of_one_run_under_the_receipt_of_another_are_detected(case: Case) -> None:
    receipt = case.path("seal/receipt.json").read_bytes()
    rerun(case, "9.5")
    case.path("seal/receipt.json").write_bytes(receipt)
    with pytest.raises(Tampered):
        check(case)


def test_a_receipt_of_an_entry_that_is_no_seal_is_refused(case: Case) -> None:
    (receipt,) = case.ledger.append(stages("x"))
    case.path("seal/receipt.json").write_bytes(receipt_bytes(receipt))
    with pytest.raises(Inconsistent):
        check(case)


def test_the_receipt_of_another_registration_is_refused(case: Case) -> None:
    spec = case.path("register/spec.json").read_bytes()
    case.path("register/spec.json").write_text('{"factor":5.0}')
    case.register()
    case.path("register/spec.json").write_bytes(spec)
    with pytest.raises(Inconsistent, match="another registration"):
        check(case)


def test_sealing_again_at_another_time_logs_nothing(case: Case) -> None:
    before = check_stored(case).head
    receipt = case.path("seal/receipt.json").read_bytes()
    case.seal(case.register(second=40), second=41)
    assert check_stored(case).head == before
    assert case.path("seal/receipt.json").read_bytes() == receipt


def test_a_seal_of_an_artifact_that_is_not_as_stated_is_refused_and_nothing_is_logged(case: Case) -> None:
    subject = Subject.of(f"artifacts/{FORECAST}/fit/result.json", digest_path(case.path("fit/result.json")))
    core = core_bytes(provenance("fit", (subject,), FORECAST))
    case.path("fit/result.json").write_text("[]")
    size = check_stored(case).head.size
    with pytest.raises(DigestMismatch):
        seal(case, core)
    assert check_stored(case).head.size == size


def seal(case: Case, *cores: bytes, verdicts: Sequence[VerdictStatement] = ()) -> None:
    seal_run(
        case.ledger,
        case.home.store,
        case.root,
        FORECAST,
        [StageRun(core, metadata()) for core in cores],
        source_tree(case.root),
        case.register(),
        INTERNAL,
        BUILDER,
        metadata(),
        verdicts,
    )


def test_a_seal_refuses_what_is_not_its_own(case: Case) -> None:
    def core(stage: str, name: str, forecast: str = FORECAST, second: int | None = None) -> bytes:
        subject = Subject.of(name, digest_path(case.path("fit/result.json")))
        made = provenance(stage, (subject,), forecast, second)
        return core_bytes(made) if second is None else stages_bytes(made)

    def stages_bytes(made: object) -> bytes:
        from audit.model import to_bytes

        return to_bytes(made)  # type: ignore[arg-type]

    own = f"artifacts/{FORECAST}/fit/result.json"
    for cores in (
        [core("fit", own, forecast="geo")],  # another forecast's statement
        [core("fit", own), core("detect", own)],  # an artifact with two makers
        [core("fit", own), core("fit", f"artifacts/{FORECAST}/fit/posterior")],  # a stage twice
        [core("fit", "data/input.csv")],  # outside the forecast's folder
        [core("fit", own, second=1)],  # not a core: metadata in it
    ):
        with pytest.raises(Usage):
            seal(case, *cores)


def test_a_seal_of_statements_never_logged_is_detected(case: Case) -> None:
    """What only the owner of the key could do, by going around `seal_run`."""
    subject = Subject.of(f"artifacts/{FORECAST}/fit/result.json", digest_path(case.path("fit/result.json")))
    made = provenance("fit", (subject,), FORECAST)
    registration = case.register().core_sha256
    sealed = seal_statement(FORECAST, [made], source_tree(case.root), registration, INTERNAL, BUILDER)
    case.ledger.append([Pending("seal", sealed)])
    with pytest.raises(Inconsistent, match="statement of stage fit not logged before the seal"):
        check(case)


def test_a_gate_that_failed_is_logged_with_the_run(case: Case) -> None:
    before = check_stored(case).head.size
    result = Subject.of(f"artifacts/{FORECAST}/fit/result.json", digest_path(case.path("fit/result.json")))
    core = core_bytes(provenance("fit", (result,), FORECAST))
    seal(case, core, verdicts=[verdict("1.2")])
    with case.home.reader().trusted() as log:
        assert [entry.record.kind for entry in log.entries(before)] == ["stage", "verdict", "seal"]


@pytest.mark.parametrize("run", ["f" * 64, "an entry that is no seal"])
def test_a_verdict_on_a_run_never_sealed_is_detected(case: Case, run: str) -> None:
    with case.home.reader().trusted() as log:
        known = log.at(1).require().core
    judged = Verdict(verdict="identical", forecast=FORECAST, run=run if len(run) == 64 else known, details=())
    statement = VerdictStatement(subject=check(case).runs[0].artifacts, predicate=judged)
    case.ledger.append([Pending("verdict", statement)])
    with pytest.raises(Inconsistent, match="run judged"):
        check(case)


def test_registering_again_with_another_holdout_is_refused(case: Case) -> None:
    with pytest.raises(Inconsistent, match="another holdout"):
        register_spec(
            case.ledger,
            case.home.store,
            case.path("register/spec.json"),
            f"artifacts/{FORECAST}/register/spec.json",
            FORECAST,
            sha256(b"data"),
            sha256(b"a kinder holdout"),
            INTERNAL,
            BUILDER,
            metadata(),
        )
