"""The README's commands, run: on a project with a small case in the place of the shipped forecasts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stages.stage import STAGES

ROOT = Path(__file__).resolve().parents[1]
CASE = ROOT / "golden" / "break" / "project"
NAME = "break"
README = (ROOT / "README.md").read_text("utf-8")
CONSOLE = [line[2:] for block in re.findall(r"```console\n(.*?)```", README, re.S) for line in block.splitlines()]
ELSEWHERE = ("python -m golden check",)  # the golden tests run it
OWN = tuple(command for command in CONSOLE if command.startswith(".prompts/"))  # run in a project of their own


class Project:
    """A checkout of its own, with a committed history and no environment variables but what a shell needs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.root.parent),
            "PYTHONPATH": str(self.root),
            "DVC_NO_ANALYTICS": "1",
        }
        return subprocess.run(
            command, shell=True, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )

    def ok(self, command: str) -> str:
        done = self.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def copied(root: Path) -> Project:
    """The project's own files at `root`."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in names.split("\0"):
        if name and (ROOT / name).is_file() and name != "dvc.lock":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    return Project(root)


def committed(place: Project) -> Project:
    place.ok("git init -q && git add -A && git -c user.name=t -c user.email=t@example.org commit -qm project")
    return place


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    place = copied(tmp_path_factory.mktemp("readme") / "project")
    shutil.copytree(
        CASE, place.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("requirements.lock", "registry")
    )
    committed(place).ok("dvc repro")
    return place


def test_the_shipped_creatives_are_replayed_by_dvc_without_a_network(tmp_path: Path) -> None:
    place = committed(copied(tmp_path / "project"))
    # no entry is logged by these stages: the home is there for the machine's fingerprint, which takes a minute
    repro = f"NOPTIK_HOME={ROOT / '.noptik' / 'test-home'} unshare --map-root-user --net dvc repro features@geo"
    place.ok(repro)
    made = place.root / "artifacts" / "geo" / "features"
    kept = json.loads((made / "record.json").read_bytes())
    assert (kept["offer"]["model"], kept["offer"]["asked"]) == ("nearest", 52)
    recordings = place.root / "data" / "creatives" / "geo" / "recordings.jsonl"
    first, *rest = recordings.read_bytes().splitlines(keepends=True)
    recordings.write_bytes(b"".join(rest))
    done = place.run(repro)
    assert done.returncode != 0
    assert f"request {json.loads(first)['request_sha256']}" in done.stderr


def _shown(command: str) -> str:
    return command.replace("retail", NAME)


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in CONSOLE if not c.startswith("make ") and c not in (*ELSEWHERE, *OWN)])
def test_each_command_of_the_readme_does_what_it_says(command: str, project: Project) -> None:
    said = project.ok(_shown(command))
    if " replay " in command:
        assert "identical" in said
    if " verify " in command:
        assert "verified" in said


def test_a_prompt_of_ones_own_is_frozen_as_the_readme_says(tmp_path: Path) -> None:
    place = Project(tmp_path)
    for folder in ("audit", "registry", "data/creatives"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements-prompts.lock", tmp_path)
    (tmp_path / ".prompts").symlink_to(ROOT / ".prompts")
    assert [command.split()[4] for command in OWN] == ["compile", "freeze", "check"]
    *_, checked = (place.ok(command) for command in OWN)
    assert "3 prompts, every digest holds" in checked
    assert "rendered again by DSPy" in checked
    again = place.run(OWN[1])
    assert again.returncode == 1
    assert "mine_v1" in again.stderr


def test_each_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", README))
    assert {"repro", "test", "lint", "bench", "lock", "golden", "golden-variations", "golden-emulated"} <= targets
    for target in sorted(targets):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_each_stage_leaves_its_folder_and_a_second_repro_does_nothing(project: Project) -> None:
    for stage in STAGES:
        assert (project.root / "artifacts" / NAME / stage).is_dir()
    assert "Data and pipelines are up to date." in project.ok("dvc repro")


@pytest.mark.slow
def test_sealing_again_logs_nothing(project: Project) -> None:
    before = project.ok("python -m audit show").splitlines()[-1]
    project.ok(f"python -m stages seal {NAME} && python -m stages register {NAME}")
    assert project.ok("python -m audit show").splitlines()[-1] == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "ingest/table.parquet",
        "register/spec.json",
        "register/receipt.json",
        "backtest/forecasts.parquet",
        "detect/verdict.json",
        "fit/gates.json",
        "forecast/record.json",
        "report/report.html",
        "seal/receipt.json",
        "statements/fit.json",
    ],
)
def test_a_flipped_byte_is_named_by_verify(name: str, project: Project) -> None:
    victim = project.root / "artifacts" / NAME / name
    kept = victim.read_bytes()
    middle = len(kept) // 2
    victim.write_bytes(kept[:middle] + bytes([kept[middle] ^ 1]) + kept[middle + 1 :])
    try:
        done = project.run("python -m audit verify")
    finally:
        victim.write_bytes(kept)
    assert done.returncode == 1
    assert name in done.stderr


@pytest.mark.slow
def test_a_second_specification_for_the_same_data_is_number_two(project: Project) -> None:
    params = project.root / "params.yaml"
    kept = params.read_text("utf-8")
    seed = re.search(r"seed: (\d+)", kept)
    assert seed is not None
    params.write_text(kept.replace(seed[0], f"seed: {int(seed[1]) + 1}", 1), "utf-8")
    receipt = project.root / "artifacts" / NAME / "register" / "receipt.json"
    first = receipt.read_bytes()
    try:
        project.ok(f"python -m stages register {NAME}")
        assert json.loads(receipt.read_bytes())["registration"]["number"] == 2
    finally:
        params.write_text(kept, "utf-8")
    project.ok(f"python -m stages register {NAME}")
    assert receipt.read_bytes() == first
