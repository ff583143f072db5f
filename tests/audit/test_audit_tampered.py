"""Every tampering vector is refused by the real command line, by its exit code and words; the good ones are not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attacks import good as story
from tests.attacks.run import TAMPERED, audit, run
from tests.tampering import ATTACKS, GOOD, good, index, unpack, write

README = re.compile(r"\n    python -m audit (.+)\n\nExit code: (\d)\n\nStandard error holds:\n\n((?:- `.+`\n)+)\Z")
FOLDERS = sorted(path.name for path in TAMPERED.iterdir() if path.name.endswith("_fail"))


@dataclass(frozen=True)
class Demand:
    """What a vector's README says must come of its command line."""

    options: str
    code: int
    words: tuple[str, ...]

    @classmethod
    def of(cls, readme: str) -> Demand:
        found = README.search(readme)
        assert found, "the README does not end in a command, an exit code and words"
        return cls(found[1], int(found[2]), tuple(line[3:-1] for line in found[3].splitlines()))


def files(folder: str) -> Mapping[str, bytes]:
    return unpack(TAMPERED / folder)


@pytest.mark.parametrize("folder", FOLDERS)
def test_it_is_refused_for_its_own_reason(folder: str, tmp_path: Path) -> None:
    held = files(folder)
    demand = Demand.of(held["README.md"].decode())
    done = run(demand.options, held, tmp_path)
    assert done.returncode == demand.code, done.stdout + done.stderr
    assert [word for word in demand.words if word not in done.stderr] == [], done.stderr
    assert done.stderr.count("\n") == 1, "more than one line: a traceback, or a warning"
    assert done.stdout == "", "something was said to be good"
    left = {path.name for path in (tmp_path / "vector").iterdir()}
    assert {name for name in left if not name.endswith(".lock")} == set(held), "it left something behind"
    assert {path.name for path in tmp_path.iterdir()} == {"vector", "good"}


@pytest.mark.parametrize("name", ["bundle.tar", "older.tar", "small.tar"])
def test_the_good_bundles_are_accepted_with_everything_demanded(name: str, tmp_path: Path) -> None:
    write(tmp_path / "vector", {})
    write(tmp_path / "good", {path.name: path.read_bytes() for path in GOOD.iterdir()})
    older = "" if name == "bundle.tar" else "new-"
    options = f"verify ../good/{name} --root ../good/root.pem --policy ../good/policy --kept ../good/{older}checkpoint"
    done = audit(f"{options} --not-before 2024-01-01T00:00:00Z", tmp_path / "vector")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"log {story.ORIGIN}" in done.stdout


def test_the_vectors_are_what_the_generator_makes_of_the_good_bundle() -> None:
    start = good()
    assert sorted(attack.folder for attack in ATTACKS) == FOLDERS
    assert (TAMPERED / "README.md").read_bytes() == index()
    for attack in ATTACKS:
        assert dict(attack.files(start)) == files(attack.folder), f"{attack.name}: run python -m tests.tampering"


def test_the_good_files_state_what_the_story_says() -> None:
    held = {path.name: path.read_bytes() for path in GOOD.iterdir()}
    assert held["root.pem"] == story.ROOT.public.to_pem()
    assert held["policy"] == story.POLICY.encode()
    assert held["2.root.json"] == story.revoked(held["1.root.json"])


def test_an_attacker_who_rebuilt_everything_is_refused_for_the_root_alone(tmp_path: Path) -> None:
    done = run("verify bundle.tar --root stranger.pem", files("wrong_root_fail"), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("folder", ["fork_fail", "rollback_fail", "back_dated_registration_fail", "frozen_head_fail"])
def test_what_a_reader_without_a_memory_cannot_know_is_not_called_tampered(folder: str, tmp_path: Path) -> None:
    done = run("verify bundle.tar --root ../good/root.pem", files(folder), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_written_outside_while_a_hostile_tar_is_read(tmp_path: Path) -> None:
    for folder in ("path_traversal_fail", "absolute_name_fail", "symbolic_link_fail"):
        place = tmp_path / folder
        place.mkdir()
        run("replay bundle.tar --root ../good/root.pem --sign-with key.pem", files(folder), place)
        assert {path.name for path in place.iterdir()} == {"vector", "good"}
        assert {path.name for path in (place / "vector").iterdir()} == set(files(folder))
    assert not list(tmp_path.rglob("evil*"))
    assert not Path("/tmp/evil").exists()
