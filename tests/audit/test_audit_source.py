"""Laws of the source tree, its digest, and of the facts about a machine."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from audit.environment import Difference, installed_matches_lock, machine
from audit.errors import Malformed, Unavailable
from audit.source import source_tree
from audit.store import Store


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    files = {
        "engine/__init__.py": "",
        "engine/a.py": "1",
        "data/straße 1.csv": "x",
        ".gitignore": "artifacts/\n__pycache__/\n",
        "dvc.lock": "1",
        "run.sh": "#!/bin/sh\n",
        "artifacts/x": "ignored",
        "engine/__pycache__/a.pyc": "ignored",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "run.sh").chmod(0o755)
    git(root, "init", "-q")
    git(root, "add", "--", ".gitignore", "data", "dvc.lock", "engine/__init__.py", "engine/a.py", "run.sh")
    git(root, "commit", "-qm", "one")
    return root


def test_the_tree_is_the_tracked_files_as_they_lie(repository: Path) -> None:
    tree = source_tree(repository)
    assert [file.path for file in tree.files] == [
        ".gitignore",
        "data/straße 1.csv",
        "engine/__init__.py",
        "engine/a.py",
        "run.sh",
    ]
    assert tree.executables == ("run.sh",)
    assert tree.commit == git(repository, "rev-parse", "HEAD").strip()


def test_the_digest_is_what_coreutils_compute(repository: Path) -> None:
    keep_private(repository)
    ours = "grep -zvE '^(dvc\\.lock$|registry/private/)'"
    script = f"git ls-files -z | {ours} | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    found = subprocess.run(["sh", "-c", script], cwd=repository, check=True, capture_output=True, text=True)
    assert found.stdout.split()[0] == source_tree(repository).sha256


def keep_private(repository: Path) -> Path:
    """A client's own event in the repository, tracked although it should not be."""
    own = repository / "registry/private/acme/price_rise.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("acme's alone")
    git(repository, "add", "-f", "--", "registry")
    return own


def test_private_events_are_no_source_even_if_they_are_tracked(repository: Path, tmp_path: Path) -> None:
    before = source_tree(repository)
    own = keep_private(repository)
    assert source_tree(repository) == before
    git(repository, "commit", "-qm", "two")
    own.write_text("edited")
    after = source_tree(repository)
    assert (after.files, after.dirty) == (before.files, False)
    git(repository, "rm", "-rq", "--cached", "registry")
    assert source_tree(repository).dirty is False
    (repository / "registry/__init__.py").write_text("")
    git(repository, "add", "registry/__init__.py")
    git(repository, "commit", "-qm", "three")  # a package now, where an untracked file would be dirt
    assert [file.path for file in source_tree(repository).files if "registry" in file.path] == ["registry/__init__.py"]
    assert source_tree(repository).dirty is False
    store, tree = Store(tmp_path / "store"), source_tree(repository)
    store.put_source_tree(repository, tree)
    held = [path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert held
    assert b"edited" not in held


def test_private_events_are_no_source_in_an_exported_tree(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = source_tree(tmp_path)
    (tmp_path / "registry/private/acme").mkdir(parents=True)
    (tmp_path / "registry/private/acme/e.yaml").write_text("acme's alone")
    assert source_tree(tmp_path) == before
    (tmp_path / "registry/privately.yaml").write_text("a name that only begins alike")
    assert [file.path for file in source_tree(tmp_path).files] == ["a", "registry/privately.yaml"]


def test_an_exported_tree_has_the_digest_of_the_repository(repository: Path, tmp_path: Path) -> None:
    store, tree = Store(tmp_path / "store"), source_tree(repository)
    store.put_source_tree(repository, tree)
    store.get_source_tree(tree.sha256, tmp_path / "out", tree.executables)
    exported = source_tree(tmp_path / "out")
    assert exported.files == tree.files
    assert (exported.sha256, exported.commit, exported.dirty) == (tree.sha256, None, False)
    for name in ("artifacts/a", ".noptik/b", "engine/__pycache__/c.pyc", ".venv/d", "dvc.lock", ".dvc/cache/e"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("a run wrote this")
    assert source_tree(tmp_path / "out") == exported


def test_dirt_is_told_from_what_a_run_leaves(repository: Path) -> None:
    assert not source_tree(repository).dirty
    (repository / "dvc.lock").write_text("2")
    (repository / "notes.txt").write_text("outside any package")
    (repository / "artifacts" / "y").write_text("ignored")
    assert not source_tree(repository).dirty
    (repository / "engine" / "new.py").write_text("importable")
    assert source_tree(repository).dirty
    (repository / "engine" / "new.py").unlink()
    (repository / "engine" / "a.py").write_text("2")
    edited = source_tree(repository)
    assert edited.dirty
    (repository / "engine" / "a.py").unlink()
    deleted = source_tree(repository)
    assert deleted.dirty
    assert "engine/a.py" not in [file.path for file in deleted.files]
    assert deleted.sha256 != edited.sha256


def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "a")
    assert (source_tree(tmp_path).commit, source_tree(tmp_path).dirty) == (None, True)


def test_the_users_git_variables_change_nothing(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = source_tree(repository)
    for name, value in {
        "GIT_DIR": "/nowhere",
        "GIT_INDEX_FILE": "/nowhere",
        "GIT_WORK_TREE": "/",
        "LANG": "xx",
    }.items():
        monkeypatch.setenv(name, value)
    assert source_tree(repository) == expected


def test_a_folder_inside_another_repository_is_read_as_it_lies(repository: Path) -> None:
    assert [file.path for file in source_tree(repository / "engine").files] == ["__init__.py", "a.py"]


def test_reading_the_tree_writes_nothing(repository: Path) -> None:
    def state() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in repository.rglob("*")}

    os.utime(repository / "run.sh")  # a stale index entry: git status would refresh it
    before = state()
    source_tree(repository)
    assert state() == before


def test_links_and_unwritable_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(Malformed):
        source_tree(tmp_path)
    (tmp_path / "link").unlink()
    (tmp_path / "a\\b").write_text("")
    with pytest.raises(Malformed):
        source_tree(tmp_path)
    with pytest.raises(Unavailable):
        source_tree(tmp_path / "absent")


def test_a_broken_repository_is_unavailable_not_an_empty_tree(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "a").write_text("1")
    with pytest.raises(Unavailable):
        source_tree(tmp_path)


def test_every_package_that_is_not_as_locked_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    own = version("pydantic")
    lock.write_text(
        "# made by a tool\n"
        f"pydantic=={own} \\\n    --hash=sha256:{'0' * 64} \\\n    # via noptik\n"
        "Pytest==0.1 \\\n"
        "no-such-package[extra]==2.0\n"
    )
    expected = (Difference("Pytest", "0.1", version("pytest")), Difference("no-such-package", "2.0", ""))
    assert installed_matches_lock(lock) == expected
    assert str(expected[1]) == "no-such-package absent (locked 2.0)"


@pytest.mark.parametrize("line", ["pydantic>=2", "pydantic", "pydantic==2.0 ; python_version < '3'", "https://x/y.whl"])
def test_a_lock_that_pins_nothing_exactly_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "lock").write_text(line)
    with pytest.raises(Malformed):
        installed_matches_lock(tmp_path / "lock")


def test_the_projects_own_lock_is_read() -> None:
    lock = Path(__file__).parents[2] / "requirements.lock"
    assert installed_matches_lock(lock) == ()


def test_the_machine_is_described_and_its_host_not_named() -> None:
    facts = machine()
    assert facts.cores >= 1
    assert len(facts.host) == 16
    assert os.uname().nodename not in facts.model_dump_json()
