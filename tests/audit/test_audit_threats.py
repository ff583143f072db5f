"""Every threat that the design names has a test named after it: here, in a tampering vector, or in a test elsewhere.

`THREATS` is the list of `ledger.md`, each threat with what answers it. A vector is run again through the command's own
function; a test elsewhere must exist. What nothing else tests is tested below.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit import ustar
from audit.cli import main
from audit.digest import sha256
from audit.envelope import PAYLOAD_TYPE, seal
from audit.errors import Malformed
from audit.record import commitment
from audit.statement import core_bytes, statement_bytes
from tests.attacks import good as story
from tests.attacks.run import TAMPERED
from tests.audit import ledger_case
from tests.audit.ledger_case import FORECAST, Case
from tests.audit.test_audit_tampered import Demand, files
from tests.fresh import REPOSITORY
from tests.shared import shared
from tests.tampering import ATTACKS, GOOD, write

AUDIT = "tests/audit/test_audit_"
THREATS: Mapping[str, tuple[str, ...]] = {
    "tampered entry, artifact, proof, signature": (
        *("tampered_entry", "tampered_artifact", "tampered_proof", "tampered_signature", "bad_envelope_signature"),
        *("bad_head_signature", "forged_cosignature", "tampered_root"),
        f"{AUDIT}sweep.py::test_every_change_is_detected_and_names_the_right_file",
    ),
    "deleted or extra file, envelope, chunk": (
        *("deleted_artifact", "deleted_envelope", "deleted_chunk", "extra_artifact", "extra_envelope", "extra_chunk"),
        *("deleted_entry", "gap_in_the_log", "extra_tag_file"),
    ),
    "truncation and rollback (an older valid bundle)": (
        *("cut_bundle", "no_end", "rollback"),
        f"{AUDIT}ledger_attacks.py::test_a_truncated_database_is_detected",
        f"{AUDIT}witness.py::test_an_older_head_is_refused",
    ),
    "fork (two signed heads of one size)": (
        *("fork", "fork_without_witness"),
        f"{AUDIT}witness.py::test_a_fork_of_the_same_size_is_refused",
        f"{AUDIT}ledger_attacks.py::test_a_fork_grown_from_a_backup_elsewhere_is_detected",
    ),
    "frozen head": ("frozen_head", "redated_cosignature"),
    "stolen key, revoked at a size": (
        *("stolen_key", "void_heads", "hidden_revocation", "usurped_root", "rotated_without_a_root_key"),
        f"{AUDIT}witness.py::test_a_revoked_key_s_heads_are_not_cosigned",
    ),
    "back-dating": (
        *("back_dated_registration", "registered_after_the_run"),
        f"{AUDIT}timestamp.py::test_a_timestamp_of_another_head_is_refused",
    ),
    "replay of a statement in another run, client or type": (
        *("replayed_in_another_run", "replayed_from_another_client", "another_kind", "another_payload_type"),
        *("another_predicate_type", "another_origin", "repeated_entry", "signed_for_another_use"),
    ),
    "algorithm or key confusion": (
        *("another_algorithm", "another_scheme", "another_key_id", "signed_by_a_stranger", "key_from_inside"),
        "wrong_root",
    ),
    "edge-case Ed25519": (
        *("large_s", "small_order_key", "small_order_log_key", "noncanonical_log_key", "small_order_anchor"),
        f"{AUDIT}signing.py::test_keys_of_small_order_are_refused",
    ),
    "non-canonical JSON, duplicate keys, floats, Unicode forms": (
        *("noncanonical_json", "duplicate_key", "float_for_integer", "large_integer", "record_with_a_float"),
        *("escaped_letter", "lone_surrogate", "decomposed_name", "unicode_name", "trailing_bits"),
    ),
    "path traversal, symlink, hard link, device, absolute, case-folded and duplicate names": (
        *("path_traversal", "symbolic_link", "hard_link", "device", "absolute_name", "case_folded_name"),
        *("duplicate_name", "named_pipe", "long_name", "pax_name", "listed_twice", "dot_name", "file_and_folder"),
    ),
    "tar, zstd, Parquet and Zarr bombs (a 6 KB chunk grows to 200 MB; shape 10^9)": (
        *("tar_bomb", "sparse_bomb"),
        f"{AUDIT}threats.py::test_bombs_and_pickles_are_hashed_and_never_opened",
        f"{AUDIT}threats.py::test_a_zarr_bomb_is_refused_before_it_grows",
        f"{AUDIT}threats.py::test_a_tar_of_deep_names_costs_no_more_than_its_size",
        "tests/engine/test_engine_table.py::test_a_small_file_that_grows_large_is_refused_before_it_grows",
    ),
    "pickle and object arrays": (
        f"{AUDIT}threats.py::test_bombs_and_pickles_are_hashed_and_never_opened",
        f"{AUDIT}threats.py::test_arrays_of_objects_are_refused",
        f"{AUDIT}threats.py::test_nothing_here_can_unpickle",
    ),
    "MD5 collisions and a poisoned DVC cache": (
        f"{AUDIT}threats.py::test_an_md5_collision_is_another_file",
        f"{AUDIT}threats.py::test_a_poisoned_dvc_cache_is_detected",
    ),
    "a file swapped between hashing and use": (
        f"{AUDIT}bundle_attacks.py::test_a_bundle_swapped_after_hashing_is_not_what_is_used",
        f"{AUDIT}store.py::test_a_source_file_swapped_between_hashing_and_storing_is_detected",
        f"{AUDIT}ustar.py::test_a_tar_replaced_after_it_was_opened_is_still_read_from_the_one_that_was_checked",
        f"{AUDIT}ustar.py::test_nothing_is_extracted_through_a_folder_swapped_for_a_link",
    ),
    "crash mid-append, torn write, kill -9, disk full, EIO on write, fsync, rename (strace's `inject`)": (
        f"{AUDIT}crash.py::test_an_append_that_fails_at_any_system_call_loses_nothing_and_ends_as_if_it_had_not",
        f"{AUDIT}crash.py::test_kill_minus_nine_in_a_loop_loses_nothing_that_was_acknowledged",
        f"{AUDIT}crash.py::test_a_full_disk_loses_nothing_and_the_ledger_goes_on_when_there_is_room_again",
        f"{AUDIT}ledger_intent.py::test_wherever_an_append_dies_the_next_writer_ends_as_if_it_had_not",
        f"{AUDIT}durable.py::test_a_write_that_fails_leaves_the_old_file_and_no_draft",
    ),
    "a restored backup that would sign a second head": (
        f"{AUDIT}ledger_attacks.py::test_a_restored_backup_is_detected_and_signs_no_second_head",
        f"{AUDIT}ledger_intent.py::test_of_one_size_never_two_heads_are_signed_whatever_dies_and_is_put_back",
    ),
    "two writers at once": (
        f"{AUDIT}ledger.py::test_two_writers_at_once_lose_nothing_and_log_nothing_twice",
        f"{AUDIT}witness.py::test_of_cosigners_at_once_each_head_follows_the_one_before",
    ),
    "bit rot": (
        f"{AUDIT}sweep.py::test_every_change_is_detected_and_names_the_right_file",
        f"{AUDIT}verify.py::test_a_flipped_byte_in_the_store_is_detected",
        f"{AUDIT}ledger_attacks.py::test_any_flipped_bit_of_the_database_is_detected_or_changed_nothing_it_says",
    ),
    "another client's names or digests leaking into a bundle": (
        f"{AUDIT}threats.py::test_nothing_of_another_forecast_is_in_a_bundle_but_a_salted_digest",
        f"{AUDIT}bundle.py::test_nothing_of_another_client_is_inside",
    ),
}


@pytest.mark.parametrize("threat", THREATS)
def test_threat(
    threat: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(GOOD, tmp_path / "good")
    for answer in THREATS[threat]:
        if "::" in answer:
            file, name = answer.split("::")
            assert name in named_in(REPOSITORY / file), answer
            continue
        held = files(f"{answer}_fail")
        demand = Demand.of(held["README.md"].decode())
        folder = tmp_path / answer
        write(folder, held)
        monkeypatch.chdir(folder)
        assert main(demand.options.split()) == demand.code, answer
        told = capsys.readouterr()
        assert [word for word in demand.words if word not in told.err] == [], answer
        assert told.out == ""


def test_no_threat_of_the_design_is_missing() -> None:
    page = shared("..", "design", "ledger.md").read_text("utf-8")
    listed = page.partition("## Threats, each with its test\n")[2].partition("\n##")[0]
    found = [" ".join(threat.split()).rstrip(".") for threat in listed.split("\u00b7")]
    assert found == list(THREATS)


def test_every_vector_answers_a_threat_or_says_another_way_in() -> None:
    answered = {answer for answers in THREATS.values() for answer in answers}
    others = {attack.name for attack in ATTACKS} - answered
    assert all((TAMPERED / f"{name}_fail" / "README.md").is_file() for name in others)
    assert {answer for answer in answered if "::" not in answer} <= {attack.name for attack in ATTACKS}


def named_in(path: Path) -> set[str]:
    """The names of the test functions in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


class Marks:
    """What a pickle does when it is opened: it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


BOMB = 200 * 10**6


def bombs(case: Case, marker: Path) -> None:
    """The results of a run replaced by files that hurt whoever opens them."""
    import pickle  # only to make what nobody may open

    folder = case.path("fit/posterior")
    (folder / "c0").write_bytes(pa.compress(bytes(BOMB), codec="zstd", asbytes=True))
    (folder / "c1").write_bytes(pickle.dumps(Marks(marker)))
    (folder / "zarr.json").write_text('{"node_type":"array","shape":[1000000000,1000],"zarr_format":3}')
    pq.write_table(pa.table({"x": pa.array([0.0] * (BOMB // 8))}), folder / "x.parquet", compression="zstd")
    assert (folder / "c0").stat().st_size < 20_000
    assert (folder / "x.parquet").stat().st_size < 400_000


def measured(options: list[str], folder: Path) -> tuple[int, int]:
    """The exit code of `python -m audit`, and the most memory it held, in bytes."""
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-m", "audit", *options],
        cwd=folder,
        env=environ,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024


def test_bombs_and_pickles_are_hashed_and_never_opened(tmp_path: Path) -> None:
    case = ledger_case.project(tmp_path)
    registered = case.register()
    case.run()
    bombs(case, tmp_path / "opened")
    case.seal(registered)
    home = ["--project", str(case.root), "--home", str(case.home.root)]
    assert measured(["bundle", FORECAST, "-o", str(tmp_path / "b.tar"), *home], tmp_path)[0] == 0
    (tmp_path / "root.pem").write_bytes(ledger_case.KEY.public.to_pem())
    code, held = measured(["verify", "b.tar", "--root", "root.pem"], tmp_path)
    plain = measured(["verify", str(GOOD / "bundle.tar"), "--root", str(GOOD / "root.pem")], tmp_path)
    assert (code, plain[0]) == (0, 0)
    assert held < plain[1] + 20 * 2**20
    assert not (tmp_path / "opened").exists()


def test_a_tar_of_deep_names_costs_no_more_than_its_size(tmp_path: Path) -> None:
    path, members = tmp_path / "deep.tar", 1000
    headers = (ustar.header(f"{number:06}/{'a/' * 110}b", 0, False) for number in range(members))
    path.write_bytes(b"".join(headers) + ustar.END)
    tracemalloc.start()
    try:
        with suppress(Malformed), ustar.open_tar(path):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * path.stat().st_size


ZARR = """
import json, resource, sys
from pathlib import Path
import pyarrow as pa
from engine.model import DIMS
from engine.posterior import STATISTICS, PosteriorError, read, write
from tests.engine.test_engine_posterior import CHAIN_LIST, COORDINATES
path, draws = Path(sys.argv[1]), 5_000_000
write(path, CHAIN_LIST, COORDINATES)
for name in (*DIMS, *STATISTICS):
    described = json.loads((path / name / "zarr.json").read_bytes())
    described["shape"][1] = described["chunk_grid"]["configuration"]["chunk_shape"][1] = draws
    (path / name / "zarr.json").write_text(json.dumps(described))
    size = draws * (1 if described["data_type"] == "bool" else 8)
    for extent in described["shape"][2:]:
        size *= extent
    for chunk in (path / name / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(pa.compress(bytes(size), codec="zstd", asbytes=True))
assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) < 10**6
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
try:
    read(path)
except PosteriorError as error:
    print("refused", error)
"""


def test_a_zarr_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ZARR, str(tmp_path / "posterior.zarr")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("refused"), done.stderr[-2000:]


OBJECTS = """
import json, sys
from pathlib import Path
from engine.posterior import PosteriorError, read, write
from tests.engine.test_engine_posterior import CHAIN_LIST, COORDINATES
path = Path(sys.argv[1])
write(path, CHAIN_LIST, COORDINATES)
place = path / "level" / "zarr.json"
plain = json.loads(place.read_bytes())
for kind in ("object", "variable_length_bytes", "string"):
    place.write_text(json.dumps({**plain, "data_type": kind, "fill_value": ""}))
    try:
        read(path)
    except PosteriorError:
        print("refused")
"""


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OBJECTS, str(tmp_path / "posterior.zarr")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["refused"] * 3, done.stderr[-2000:]


def test_nothing_here_can_unpickle() -> None:
    unpicklers = re.compile(r"\b(pickle|cloudpickle|dill|joblib|marshal|shelve|jsonpickle)\b|allow_pickle|np\.load")
    modules = [path for room in ("audit", "engine", "registry", "stages") for path in (REPOSITORY / room).glob("*.py")]
    found = []
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom | ast.Call) and unpicklers.search(ast.unparse(node)):
                found.append(f"{path.name}: {ast.unparse(node)}")
    assert modules
    assert found == []


# X. Wang and H. Yu, "How to Break MD5 and Other Hash Functions", 2005: a block and the bits that its twin has otherwise
TWIN = bytes.fromhex(
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f8955ad340609f4b30283e488832571415a"
    "085125e8f7cdc99fd91dbdf280373c5bd8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
)
TURNED = (19, 45, 59, 83, 109, 123)


def verify_home(case: Case, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """What `python -m audit verify` says of the workspace: its exit code and standard error."""
    root = case.root.parent / "root.pem"
    root.write_bytes(ledger_case.KEY.public.to_pem())
    places = ["--project", str(case.root), "--home", str(case.home.root), "--root", str(root)]
    code = main(["verify", FORECAST, *places])
    return code, capsys.readouterr().err


def test_an_md5_collision_is_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twin = bytes(byte ^ 0x80 if at in TURNED else byte for at, byte in enumerate(TWIN))
    assert hashlib.md5(TWIN).digest() == hashlib.md5(twin).digest()
    case = ledger_case.project(tmp_path)
    registered = case.register()
    case.run()
    case.path("fit/posterior/c0").write_bytes(TWIN)
    case.seal(registered)
    assert verify_home(case, capsys) == (0, "")
    case.path("fit/posterior/c0").write_bytes(twin)
    code, told = verify_home(case, capsys)
    assert code == 1
    assert "artifacts/retail/fit/posterior" in told


def test_a_poisoned_dvc_cache_is_detected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = ledger_case.project(tmp_path)
    registered = case.register()
    case.run()
    output = case.path("fit/result.json")
    outs = f"stages:\n  fit:\n    cmd: 'true'\n    outs: [{output.relative_to(case.root)}]\n"
    (case.root / "dvc.yaml").write_text(outs)
    dvc(case.root, "init", "--no-scm")
    dvc(case.root, "commit", "--force")
    case.seal(registered)
    assert verify_home(case, capsys) == (0, "")
    genuine = output.read_bytes()
    (cached,) = (path for path in (case.root / ".dvc" / "cache").rglob("*") if path.is_file())
    cached.chmod(0o644)
    cached.write_bytes(genuine.replace(b"5.0", b"6.0"))
    cached.chmod(0o444)
    output.unlink()
    dvc(case.root, "checkout")
    assert "up to date" in dvc(case.root, "status"), "DVC noticed: the threat is gone"
    assert output.read_bytes() != genuine
    code, told = verify_home(case, capsys)
    assert code == 1
    assert "fit/result.json" in told


def dvc(folder: Path, *arguments: str) -> str:
    """What DVC says there."""
    environ = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True).stdout


def test_nothing_of_another_forecast_is_in_a_bundle_but_a_salted_digest() -> None:
    bundle = (GOOD / "bundle.tar").read_bytes()
    stated = ledger_case.statement("fit", story.SECRET, story.OTHER)
    envelope = seal(statement_bytes(stated), PAYLOAD_TYPE, story.LOG)
    assert commitment(story.LOG.salt(envelope), envelope).encode() in bundle, "not the statement that was logged"
    hidden = [
        *(story.OTHER.encode(), story.SECRET.encode(), story.LOG.salt(envelope), envelope[-120:-20]),
        *(sha256(raw).encode() for raw in (envelope, statement_bytes(stated), core_bytes(stated))),
        sha256(story.SECRET.encode()).encode(),
    ]
    for secret in hidden:
        assert secret not in bundle
        assert secret.hex().encode() not in bundle


def test_a_root_of_trust_once_seen_is_remembered_with_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["verify", str(GOOD / "bundle.tar"), "--root", str(GOOD / "root.pem"), "--kept", "head"]
    assert main(command) == 0
    assert "the first head seen" in capsys.readouterr().out
    assert main(command) == 0
    assert "holds the head seen last" in capsys.readouterr().out
    Path("head.root.json").write_bytes((GOOD / "2.root.json").read_bytes())  # as if a revocation had been seen
    seen = Path("head").read_bytes()
    assert main(command) == 1
    assert "older root of trust" in capsys.readouterr().err
    assert Path("head").read_bytes() == seen


def test_a_head_that_the_reader_refuses_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(GOOD, tmp_path / "good")
    folder = tmp_path / "fork"
    write(folder, files("fork_without_witness_fail"))
    monkeypatch.chdir(folder)
    demands = ["--root", "../good/root.pem", "--policy", "../good/policy", "--kept", "head"]
    assert main(["verify", "../good/older.tar", *demands]) == 0
    seen = Path("head").read_bytes()
    assert main(["verify", "bundle.tar", *demands]) == 1
    assert Path("head").read_bytes() == seen
    assert main(["verify", "../good/bundle.tar", *demands]) == 0
