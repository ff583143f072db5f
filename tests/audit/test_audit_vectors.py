"""The public vectors are found by looking, not by name: a further file of the same shape is run, and judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fresh import REPOSITORY
from tests.shared import shared

FILES = ("canonical", "merkle", "signing")
CASES = "test_public_vectors or test_public_numbers or test_public_signature_vectors"


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """A copy of the shared vectors."""
    return Path(shutil.copytree(shared("vectors"), tmp_path / "vectors"))


def outcomes(vectors: Path) -> dict[str, str]:
    """What the tests of public vectors say of each file of this copy: passed, failed or skipped."""
    names = [f"tests/audit/test_audit_{name}.py" for name in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--tb=no", "-p", "no:cacheprovider", "-k", CASES, *names]
    environ = {**os.environ, "NOPTIK_SHARED_DATA": str(vectors.parent)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False)
    lines = (line.split(maxsplit=1) for line in done.stdout.splitlines() if "::" in line or "SKIPPED" in line)
    return {where.split(" - ")[0]: verdict for verdict, where in lines}


def further(vectors: Path) -> list[str]:
    """Files of the same shapes under new names: the ids that their tests must have."""
    for folder, suffix in (("input", "json"), ("output", "json"), ("outhex", "txt")):
        place = vectors / "jcs" / folder
        shutil.copy(place / f"french.{suffix}", place / f"further.{suffix}")
    shutil.copy(next(vectors.glob("jcs/es6*.txt")), vectors / "jcs" / "es6_further.txt")
    place = vectors / "merkle" / "further"
    place.mkdir()
    for kind in ("inclusion", "consistency"):
        shutil.copy(next((vectors / "merkle" / kind).rglob("happy-path.json")), place / f"{kind}.json")
    shutil.copy(vectors / "wycheproof" / "ed25519_test.json", vectors / "wycheproof" / "further.json")
    return [
        "input/further.json",
        "es6_further.txt",
        "further/inclusion.json",
        "further/consistency.json",
        "[further.json]",
    ]


def spoil(vectors: Path) -> None:
    """Each new file now states what is not so."""
    (vectors / "jcs" / "output" / "further.json").write_text("{}")
    (vectors / "jcs" / "es6_further.txt").write_text("3ff0000000000000,2\n")
    for path in (vectors / "merkle" / "further").iterdir():
        path.write_text(json.dumps(json.loads(path.read_text()) | {"wantErr": True}))
    path = vectors / "wycheproof" / "further.json"
    path.write_text(path.read_text().replace('"valid"', '"invalid"', 1))


def test_a_further_file_of_the_same_shape_is_run_and_judged(vectors: Path) -> None:
    before = outcomes(vectors)
    assert set(before.values()) == {"PASSED"}
    judged = (path for path in vectors.rglob("*.json") if path.parent.name != "output")
    assert len(before) == len([*judged, *vectors.rglob("es6*.txt")])
    added = further(vectors)
    good = outcomes(vectors)
    new = {name: next(test for test in good if name in test) for name in added}
    assert set(good.values()) == {"PASSED"}
    assert len(good) == len(before) + len(added)
    spoil(vectors)
    bad = outcomes(vectors)
    assert [name for name in added if bad[new[name]] != "FAILED"] == []


def test_without_the_shared_folder_they_are_skipped_for_a_reason(tmp_path: Path) -> None:
    found = outcomes(tmp_path / "absent")
    assert set(found.values()) == {"SKIPPED"}
    assert all("shared data absent" in where for where in found)
