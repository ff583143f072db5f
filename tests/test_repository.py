"""What may not be committed, and what must be: no registry's host, no machine's path, no key, every pin hashed.

The files looked at are those git tracks or would track, as they lie in the working tree.
"""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.spec import parse_spec
from stages.stage import declared_spec, load_params
from tests.fresh import REPOSITORY

# spelled in two parts, so that this file does not hold them
HALVES = (
    *(("py", "pi.org"), ("python", "hosted"), ("npm", "js"), ("deb.de", "bian")),
    *(("crates", ".io"), ("ana", "conda.org"), ("proxy.go", "lang"), ("ruby", "gems.org")),
)
HOSTS = tuple("".join(halves) for halves in HALVES)
MACHINE_PATH = re.compile(r"(?<![\w.:/$}~-])/(?:work|root|Users|home)/(?!x\b)\w")  # /home/x is nobody's
PRIVATE_KEY = re.compile("-----BEGIN [A-Z ]*PRIVATE KEY-----")
PUBLISHED_KEYS = ("golden/", "tests/")  # made for tests, and good for nothing else
LOCKS = ("requirements.lock", "requirements-bootstrap.lock", "requirements-build.lock")
PIN = re.compile(r"([A-Za-z0-9._-]+)(\[[a-z,]+\])?==([A-Za-z0-9.]+)")


def committed() -> list[str]:
    """Names of the files that are tracked, or would be by `git add .`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True)
    names = {name for name in done.stdout.decode().split("\0") if name}
    return sorted(name for name in names if (REPOSITORY / name).is_file())


def texts() -> Iterator[tuple[str, str]]:
    for name in committed():
        yield name, (REPOSITORY / name).read_bytes().decode("utf-8", "replace")


def registry_hosts(text: str) -> list[str]:
    return [host for host in HOSTS if host in text.lower()]


def locked(text: str) -> dict[str, tuple[str, int]]:
    """Version and number of hashes of every package of a lock file, by normalised name."""
    found: dict[str, tuple[str, int]] = {}
    for part in re.split(r"\n(?=\S)", text.strip()):
        if not part.startswith("#"):
            match = PIN.match(part)
            assert match, f"not an exact pin: {part.splitlines()[0]}"
            found[normal(match[1])] = (match[3], len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", part)))
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


def test_no_file_names_a_package_registry() -> None:
    assert {name: found for name, text in texts() if (found := registry_hosts(text))} == {}


def test_no_file_holds_a_path_of_some_machine() -> None:
    assert {name: match[0] for name, text in texts() if (match := MACHINE_PATH.search(text))} == {}


def test_no_private_key_is_committed_but_those_published_for_tests() -> None:
    found = [name for name, text in texts() if PRIVATE_KEY.search(text)]
    assert [name for name in found if not name.startswith(PUBLISHED_KEYS)] == []


def test_the_patterns_find_what_they_are_for() -> None:
    assert registry_hosts("see https://" + HOSTS[0] + "/simple")
    for path in ("work/main", "home/someone", "root/some"):
        assert MACHINE_PATH.search(f"cd /{path}")
    for harmless in ("https://a.org/work/b", "artifacts/work/x", "$HOME/work/x", "../home/x"):
        assert not MACHINE_PATH.search(harmless)
    assert PRIVATE_KEY.search("-----BEGIN OPENSSH " + "PRIVATE KEY-----")


def test_nothing_that_a_run_makes_is_committed() -> None:
    made = (".venv/", ".noptik/", "artifacts/", ".dvc/cache/", ".dvc/tmp/")
    assert [name for name in committed() if name.startswith(made) or "__pycache__" in name] == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_pins_by_hash_and_names_no_index(name: str) -> None:
    text = (REPOSITORY / name).read_text("utf-8")
    assert "://" not in text
    assert "index-url" not in text
    assert "--find-links" not in text
    assert locked(text)
    assert [package for package, (_, hashes) in locked(text).items() if hashes == 0] == []


def test_every_declared_dependency_is_exact_and_locked_as_declared() -> None:
    declared = project()["project"]
    pins = [*declared["dependencies"], *declared["optional-dependencies"]["dev"]]
    held = locked((REPOSITORY / "requirements.lock").read_text("utf-8"))
    for pin in pins:
        match = PIN.fullmatch(pin)
        assert match, f"expected an exact pin, found {pin}"
        assert held[normal(match[1])][0] == match[3], pin


def test_what_builds_is_pinned_and_locked_too() -> None:
    held = locked((REPOSITORY / "requirements-build.lock").read_text("utf-8"))
    for pin in project()["build-system"]["requires"]:
        match = PIN.fullmatch(pin)
        assert match, f"expected an exact pin, found {pin}"
        assert held[normal(match[1])][0] == match[3], pin


def test_the_profile_pins_the_versions_that_the_lock_installs() -> None:
    from engine.profile import PROFILE

    held = locked((REPOSITORY / "requirements.lock").read_text("utf-8"))
    assert {name: held[normal(name)][0] for name, _ in PROFILE.versions} == dict(PROFILE.versions)


def test_dvc_reports_to_nobody() -> None:
    config = configparser.ConfigParser()
    config.read(REPOSITORY / ".dvc" / "config", "utf-8")
    assert not config.getboolean("core", "analytics")
    assert not config.getboolean("core", "check_update")


def test_git_converts_no_line_ending() -> None:
    assert "* -text" in (REPOSITORY / ".gitattributes").read_text("utf-8").splitlines()


def test_dvc_does_not_look_at_compiled_python() -> None:
    assert "__pycache__/" in (REPOSITORY / ".dvcignore").read_text("utf-8").splitlines()


def test_every_declared_forecast_names_a_valid_specification() -> None:
    params = load_params(REPOSITORY)
    assert params["forecasts"]
    assert set(params["forecasts"]) <= set(params["specs"])
    for name in params["specs"]:
        raw = declared_spec(REPOSITORY, name)
        assert parse_spec(raw).name == name


def test_the_canonical_form_of_a_specification_is_a_fixed_point() -> None:
    from audit import canonical

    for name in load_params(REPOSITORY)["specs"]:
        raw = declared_spec(REPOSITORY, name)
        assert canonical.encode(json.loads(raw)) == raw
        assert canonical.encode(json.loads(parse_spec(raw).model_dump_json())) == raw


def test_the_data_of_every_specification_ships_with_the_project() -> None:
    files = set(committed())
    for name in load_params(REPOSITORY)["specs"]:
        data = parse_spec(declared_spec(REPOSITORY, name)).data
        assert data.path in files
        assert Path(data.path).name in (REPOSITORY / "data" / "README.md").read_text("utf-8")


def unexplained(text: str) -> list[str]:
    """Knobs of a params.yaml whose first line of all has no comment.

    A knob is a line `key: value` below `specs:`; its line, or one of comment just above it, must say something. What
    only opens a block is named by what is in it, and the items of a list by the list.
    """
    seen: set[str] = set()
    bare, above = [], False
    for line in text.partition("\nspecs:\n")[2].splitlines():
        match = re.match(r"\s+([a-z_]+):(\s.*)?$", line)
        if match and match[1] not in seen and (match[2] or "").strip():
            seen.add(match[1])
            if not above and not re.search(r"\s#\s\w", line):
                bare.append(match[1])
        above = line.strip().startswith("# ")
    return bare


def test_every_knob_of_params_is_explained_where_it_first_appears() -> None:
    assert unexplained((REPOSITORY / "params.yaml").read_text("utf-8")) == []


def test_a_knob_without_a_sentence_is_found() -> None:
    text = "forecasts: [a]\nspecs:\n  a:\n    x: 1  # why\n    y: 2\n    # of z\n    z: 3\n    w: {u: 1}\n"
    assert unexplained(text + "  b:\n    x: 1\n") == ["y", "w"]


def test_what_dvc_notes_of_the_last_run_is_not_tracked() -> None:
    done = subprocess.run(["git", "ls-files", "dvc.lock"], cwd=REPOSITORY, capture_output=True, check=True)
    assert done.stdout == b""
