"""The architecture is a test: who may import whom, what a stage must depend on, who owns clock, keys and ledger.

Each rule is a function in tests/architecture.py; it must find nothing here, and what was planted in a broken tree.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import pipeline
from stages.closure import closure, modules
from stages.stage import RECEIPT, STAGES, Stage
from tests import architecture
from tests.fresh import REPOSITORY

Rule = Callable[[Path], list[str]]

RULES: tuple[Rule, ...] = (
    architecture.forbidden_edges,
    architecture.foreign_imports,
    architecture.heavy,
    architecture.cycles,
    architecture.uncovered,
    architecture.ledger_outputs,
    architecture.ledger_users,
    architecture.worldly,
    architecture.key_makers,
)


def stage(name: str) -> Stage:
    found: Stage = importlib.import_module(f"stages.{name}").STAGE
    return found


def tree(root: Path, files: dict[str, str]) -> Path:
    """A project of the given files below `root`."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: Rule) -> None:
    assert rule(REPOSITORY) == []


@pytest.mark.parametrize(
    ("path", "line", "fault"),
    [
        ("audit/merkle.py", "import engine.model", "audit.merkle imports engine"),
        ("engine/model.py", "from audit import merkle", "engine.model imports audit"),
        ("engine/model.py", "def f() -> None:\n    from stages import fit", "engine.model imports stages"),
        ("registry/regimes.py", "from engine import model", "registry.regimes imports engine"),
        ("stages/fit.py", "from golden import case", "stages.fit imports golden"),
        ("audit/merkle.py", "from engine.model import x", "audit.merkle imports engine.model"),
    ],
)
def test_a_forbidden_edge_is_found(tmp_path: Path, path: str, line: str, fault: str) -> None:
    packages = {f"{name}/__init__.py": "" for name in architecture.ROOMS}
    members = {"audit/merkle.py": "", "engine/model.py": "", "stages/fit.py": "", "golden/case.py": ""}
    root = tree(tmp_path, {**packages, **members, "registry/regimes.py": ""})
    assert architecture.forbidden_edges(root) == []
    tree(root, {path: line})
    assert fault in architecture.forbidden_edges(root)


@pytest.mark.parametrize(
    ("path", "line", "fault"),
    [
        ("audit/merkle.py", "import numpy as np", "audit.merkle imports numpy"),
        ("audit/store.py", "from sqlmodel import Session", "audit.store imports sqlmodel"),
        ("engine/model.py", "import sqlalchemy.orm", "engine.model imports sqlalchemy.orm"),
        ("registry/regimes.py", "def f():\n    import jax", "registry.regimes imports jax"),
        ("stages/fit.py", "import torch", "stages.fit imports torch"),
        ("stages/fit.py", "from . import stage", "stages.fit imports relatively"),
    ],
)
def test_a_library_in_the_wrong_room_is_found(tmp_path: Path, path: str, line: str, fault: str) -> None:
    assert architecture.foreign_imports(tree(tmp_path, {path: line})) == [fault]


def test_the_database_is_known_to_the_ledgers_modules_alone(tmp_path: Path) -> None:
    root = tree(tmp_path, {"audit/ledger.py": "import sqlmodel", "audit/ledgerfile.py": "import sqlalchemy"})
    assert architecture.foreign_imports(root) == []
    assert architecture.foreign_imports(tree(root, {"audit/trust.py": "import sqlmodel"}))


def test_a_database_behind_what_a_client_runs_is_found(tmp_path: Path) -> None:
    files = {f"{module.replace('.', '/')}.py": "" for module in architecture.LIGHT}
    root = tree(tmp_path, {"audit/__init__.py": "", "audit/ledger.py": "", "audit/trust.py": "", **files})
    assert architecture.heavy(root) == []
    tree(root, {"audit/trust.py": "from audit import ledger", "audit/proof.py": "from audit import trust"})
    assert architecture.heavy(root) == ["audit.proof needs audit.ledger"]


def test_a_circle_is_found_even_through_a_function(tmp_path: Path) -> None:
    files = {"engine/__init__.py": "", "engine/a.py": "from engine import b", "engine/b.py": "from engine.c import x"}
    root = tree(tmp_path, {**files, "engine/c.py": "x = 1"})
    assert architecture.cycles(root) == []
    tree(root, {"engine/c.py": "def f():\n    from engine import a"})
    assert architecture.cycles(root) == ["engine.a <-> engine.b <-> engine.c"]
    tree(root, {"engine/c.py": "", "engine/__init__.py": "from engine import a"})
    assert "engine <-> engine.a" in architecture.cycles(root)[0]


def test_a_dependency_left_out_of_the_pipeline_is_found(tmp_path: Path) -> None:
    yaml = "stages:\n  fit:\n    deps: [stages/__init__.py, stages/__main__.py, stages/fit.py]\n    outs: []\n"
    files = {"stages/__init__.py": "", "stages/__main__.py": "", "stages/fit.py": "", "dvc.yaml": yaml}
    root = tree(tmp_path, {**files, "engine/__init__.py": "", "engine/deep.py": ""})
    assert architecture.uncovered(root) == []
    tree(root, {"stages/fit.py": "from engine import deep"})
    expected = ["fit does not depend on engine/__init__.py", "fit does not depend on engine/deep.py"]
    assert architecture.uncovered(root) == expected


def test_a_ledger_among_the_outputs_is_found(tmp_path: Path) -> None:
    yaml = "stages:\n  seal:\n    outs: ['artifacts/${item.forecast}/seal', .noptik/ledger.sqlite]\n"
    assert architecture.ledger_outputs(tree(tmp_path, {"dvc.yaml": yaml})) == ["seal outputs .noptik/ledger.sqlite"]


def test_a_third_stage_that_touches_the_ledger_is_found(tmp_path: Path) -> None:
    packages = {"audit/__init__.py": "", "audit/ledger.py": "", "audit/home.py": "", "stages/__init__.py": ""}
    root = tree(tmp_path, {**packages, "stages/seal.py": "from audit.home import Home"})
    assert architecture.ledger_users(root) == []
    tree(root, {"stages/fit.py": "def f():\n    from audit import ledger"})
    assert architecture.ledger_users(root) == ["stages.fit imports audit.ledger"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("import time", "engine.model: time"),
        ("from os import environ", "engine.model: os"),
        ("import os.path", "engine.model: os.path"),
        ("from datetime import datetime\nx = datetime.now()", "engine.model: datetime.now()"),
        ("from datetime import date\nx = date.today()", "engine.model: date.today()"),
        ("x = open('f')", "engine.model: open()"),
        ("def f(os): return os.environ['A']", "engine.model: os.environ"),
        ("import random", "engine.model: random"),
        ("import subprocess", "engine.model: subprocess"),
    ],
)
def test_an_engine_that_looks_at_the_world_is_found(tmp_path: Path, line: str, fault: str) -> None:
    assert fault in architecture.worldly(tree(tmp_path, {"engine/model.py": line}))


@pytest.mark.parametrize(
    "line", ["x = jax.random.key(0)", "x = jax.random.PRNGKey(0)", "x = random.key(1)", "x = PRNGKey(2)"]
)
def test_a_second_maker_of_keys_is_found(tmp_path: Path, line: str) -> None:
    root = tree(tmp_path, {"engine/prng.py": line})
    assert architecture.key_makers(root) == []
    assert len(architecture.key_makers(tree(root, {"stages/fit.py": line, "engine/model.py": line}))) == 2


def test_each_exempt_maker_of_keys_still_makes_one() -> None:
    known = modules(REPOSITORY)
    for module in architecture.KEY_MAKERS:
        assert "key(" in known[module].read_text("utf-8"), f"{module} is exempt for nothing"


def test_imports_by_name_are_those_that_the_pipeline_accounts_for() -> None:
    assert architecture.unseen_imports(REPOSITORY) == [
        "stages.cli imports COMMANDS[arguments.command][0]",  # a command, never part of a stage
        "stages.pipeline imports f'stages.{name}'",  # each stage in turn
        "stages.stage imports 'engine.table'",  # of a stage that writes tables: below
        "stages.stage imports f'stages.{name}'",  # the stage itself
    ]
    known = modules(REPOSITORY)
    for name in STAGES:
        if stage(name).stated:
            assert "engine.table" in closure(f"stages.{name}", known), name


def test_an_import_by_name_is_found(tmp_path: Path) -> None:
    text = "import importlib\nx = importlib.import_module('audit.ledger')\ny = importlib.import_module('numpy')"
    assert architecture.unseen_imports(tree(tmp_path, {"engine/a.py": text})) == ["engine.a imports 'audit.ledger'"]


def test_the_pipeline_is_what_the_stages_declare() -> None:
    assert (REPOSITORY / "dvc.yaml").read_text("utf-8") == pipeline.text(REPOSITORY)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_artifact_it_reads(name: str) -> None:
    declared = architecture.pipeline(REPOSITORY)[name]["deps"]
    assert {f"artifacts/${{item.forecast}}/{read}" for read in stage(name).reads} <= set(declared)


@pytest.mark.parametrize("name", STAGES)
def test_what_a_stage_reads_an_earlier_stage_writes(name: str) -> None:
    before = STAGES[: STAGES.index(name)]
    for read in stage(name).reads:
        folder, _, rest = read.partition("/")
        writer = rest.removesuffix(".json") if folder == "statements" else folder
        assert writer in before, f"{name} reads {read}"


@pytest.mark.parametrize("name", ["backtest", "fit"])
def test_nothing_is_fitted_before_the_specification_is_logged(name: str) -> None:
    assert f"artifacts/${{item.forecast}}/{RECEIPT}" in architecture.pipeline(REPOSITORY)[name]["deps"]


def test_every_stage_runs_once_for_each_declared_forecast() -> None:
    stages = architecture.pipeline(REPOSITORY)
    assert tuple(stages) == STAGES
    for name, declared in stages.items():
        assert declared["matrix"] == {"forecast": "${forecasts}"}
        assert declared["cmd"] == f"python -m stages {name} ${{item.forecast}}"
        assert declared["desc"]


def test_no_two_stages_write_one_artifact() -> None:
    outs = [name for declared in architecture.pipeline(REPOSITORY).values() for name in declared["outs"]]
    assert len(outs) == len(set(outs))
