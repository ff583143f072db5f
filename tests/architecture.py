"""The house's rules as functions of a source tree: each gives the faults it finds, in order, empty when there are none.

They read source text and import nothing, so a test can run them on a tree it has just broken.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from stages.closure import PACKAGES, closure, imports, modules

# what each package may import of the project
ROOMS: Mapping[str, frozenset[str]] = {
    "audit": frozenset({"audit"}),
    "engine": frozenset({"engine"}),
    "registry": frozenset({"registry", "audit"}),
    "stages": frozenset({"stages", "audit", "engine", "registry"}),
    "golden": frozenset({"golden", "stages", "audit", "engine", "registry"}),
}

# what each package may import of others
LIBRARIES: Mapping[str, frozenset[str]] = {
    "audit": frozenset({"cryptography", "pydantic", "pyrage", "rfc3161_client", "rfc8785", "securesystemslib", "tuf"}),
    "engine": frozenset(
        {"PIL", "arviz_base", "arviz_stats", "blackjax", "holidays", "jax", "jaxlib", "numpy", "numpyro", "pyarrow"}
        | {"pydantic", "scipy", "sklearn", "statsmodels", "zarr"}
    ),
    "registry": frozenset({"pydantic", "pydantic_core", "sqlmodel", "yaml"}),
    "stages": frozenset(
        {"arviz_stats", "jax", "jinja2", "markupsafe", "numpy", "psutil", "pyarrow", "pydantic", "rich", "yaml", "zarr"}
    ),
    "golden": frozenset({"numpy", "yaml"}),
}
STORE = re.compile(r"audit\.ledger[a-z]*")  # the only modules that may know a database
DATABASE = frozenset({"psycopg", "sqlmodel", "sqlalchemy"})
# a script of `make bench` that runs in an environment of its own (requirements-rival.lock), and what is in it
RIVAL = "stages.bench_rival"
RIVALS = frozenset({"pandas", "pymc", "pymc_extras", "pymc_marketing", "pytensor"})
LIGHT = ("audit.bundleverify", "audit.proof", "audit.witness")  # what a client runs: no database behind any of it

# the modules through which the ledger is reached, and who may: stages that write it, a command that prints its head
LEDGER = frozenset({"audit.ledger", "audit.home"})
LEDGER_USERS = frozenset(
    {"stages.register", "stages.seal", "stages.where", "stages.bench_ledger", "stages.bench_bundle"}
)

# the engine computes; these modules hold what it must ask of the world, and why
OUTSIDE: Mapping[str, frozenset[str]] = {
    "engine.precision": frozenset({"os"}),  # owner of the profile: user, machine and C library of the cache's folder
    "engine.table": frozenset({"os", "open"}),  # the one writer of tables, durably
}
CLOCK_AND_WORLD = frozenset({"time", "random", "secrets", "uuid", "socket", "subprocess", "os", "tempfile", "locale"})
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})
READS = frozenset({"open", "input"})

# who may make a PRNG key, and why
KEY_MAKERS: Mapping[str, str] = {
    "engine.prng": "the owner: named streams of the specification's seed",
    "engine.fit": "one constant key, of whose draws only the shapes are used",
    "engine.operations": "probes of the generator itself, for the fingerprint",
}
KEY_CALLS = re.compile(r"(jax\.)?(random|jr)\.(key|PRNGKey|wrap_key_data)|PRNGKey")


def forbidden_edges(root: Path) -> list[str]:
    """Imports between the project's packages that ROOMS does not allow."""
    known = modules(root)
    return [
        f"{module} imports {name}"
        for module in sorted(known)
        for name in sorted(imports(module, known))
        if _top(name) not in ROOMS[_top(module)]
    ]


def foreign_imports(root: Path) -> list[str]:
    """Imports of libraries that LIBRARIES does not allow there, and relative imports, which hide what they name."""
    found = []
    for module, tree in _trees(root):
        allowed = LIBRARIES[_top(module)] | (DATABASE if STORE.fullmatch(module) else frozenset())
        allowed |= RIVALS if module == RIVAL else frozenset()
        for name in _imported(tree):
            if not name:
                found.append(f"{module} imports relatively")
            elif _top(name) not in {*sys.stdlib_module_names, *PACKAGES, *allowed}:
                found.append(f"{module} imports {name}")
    return found


def heavy(root: Path) -> list[str]:
    """Modules that know a database and that something in LIGHT imports, directly or not."""
    known = modules(root)
    return [
        f"{module} needs {name}" for module in LIGHT for name in sorted(closure(module, known)) if STORE.fullmatch(name)
    ]


def cycles(root: Path) -> list[str]:
    """Circles of modules: their members, when imports inside functions count as imports too.

    A parent package is imported by its members and imports none of them, so it is in no circle.
    """
    known = modules(root)
    reach = {module: closure(module, known) - {module} for module in known}
    found = {
        tuple(sorted({module, *(name for name in reach[module] if module in reach[name])}))
        for module in known
        if any(module in reach[name] for name in reach[module])
    }
    return [" <-> ".join(circle) for circle in sorted(found)]


def uncovered(root: Path) -> list[str]:
    """What a stage of dvc.yaml imports, directly or not, and does not depend on."""
    known = modules(root)
    runner = closure("stages.__main__", known)
    found = []
    for stage, declared in pipeline(root).items():
        code = {str(known[m].relative_to(root)) for m in closure(f"stages.{stage}", known) | runner}
        found += [f"{stage} does not depend on {name}" for name in sorted(code - set(declared["deps"]))]
    return found


def unseen_imports(root: Path) -> list[str]:
    """Imports by name at run time of the project's modules, which no import graph shows: module and argument."""
    found = []
    for module, tree in _trees(root):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _dotted(node.func).rpartition(".")[2] in ("import_module", "__import__"):
                argument = ast.unparse(node.args[0])
                literal = isinstance(node.args[0], ast.Constant)
                if not literal or _top(str(ast.literal_eval(node.args[0]))) in PACKAGES:
                    found.append(f"{module} imports {argument}")
    return found


def ledger_outputs(root: Path) -> list[str]:
    """Outputs of the pipeline that DVC would delete and that are not a forecast's artifacts."""
    return [
        f"{stage} outputs {name}"
        for stage, declared in pipeline(root).items()
        for name in declared["outs"]
        if not name.startswith("artifacts/${item.forecast}/")
    ]


def ledger_users(root: Path) -> list[str]:
    """Modules of stages/, beside LEDGER_USERS, that import the ledger."""
    known = modules(root)
    return [
        f"{module} imports {name}"
        for module in sorted(known)
        if _top(module) == "stages" and module not in LEDGER_USERS
        for name in sorted(imports(module, known) & LEDGER)
    ]


def worldly(root: Path) -> list[str]:
    """What the engine reads of clock, environment and disk, beside what OUTSIDE allows."""
    found = []
    for module, tree in _trees(root):
        if _top(module) != "engine":
            continue
        allowed = OUTSIDE.get(module, frozenset())
        for what in (*_imported(tree), *_calls(tree)):
            name = what.partition("(")[0]
            if "(" in what:
                bad = name.rpartition(".")[2] in CLOCK_CALLS or (name in READS and name not in allowed)
            else:
                bad = _top(name) in CLOCK_AND_WORLD and name not in allowed
            if bad:
                found.append(f"{module}: {what}")
        found += [f"{module}: {name}" for name in _names(tree) if name.startswith(("os.environ", "os.getenv"))]
    return found


def key_makers(root: Path) -> list[str]:
    """Modules beside KEY_MAKERS that make a PRNG key."""
    return [
        f"{module}: {call}"
        for module, tree in _trees(root)
        if module not in KEY_MAKERS
        for call in _calls(tree)
        if KEY_CALLS.fullmatch(call.partition("(")[0])
    ]


def pipeline(root: Path) -> dict[str, Any]:
    """The stages of dvc.yaml."""
    stages: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text("utf-8"))["stages"]
    return stages


def _trees(root: Path) -> Iterator[tuple[str, ast.Module]]:
    for module, path in sorted(modules(root).items()):
        yield module, ast.parse(path.read_text("utf-8"))


def _imported(tree: ast.AST) -> Iterable[str]:
    """Dotted names of modules; empty for a relative import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "" if node.level else str(node.module)


def _calls(tree: ast.AST) -> Iterable[str]:
    """What is called, dotted, with the brackets."""
    return (f"{_dotted(node.func)}()" for node in ast.walk(tree) if isinstance(node, ast.Call))


def _names(tree: ast.AST) -> Iterable[str]:
    return (_dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))


def _dotted(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def _top(name: str) -> str:
    return name.partition(".")[0]
