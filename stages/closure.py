"""Which of the project's own files a module needs: its import closure, read from the source and not by importing.

DVC follows no imports, so dvc.yaml lists what each stage's code is made of; a test holds those lists against this.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

PACKAGES = ("audit", "engine", "golden", "registry", "stages")


def modules(root: Path) -> dict[str, Path]:
    """Every module of the project's packages by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, known: dict[str, Path]) -> set[str]:
    """The project's modules that `module` imports, at its top or inside a function; parent packages included."""
    found = set()
    for name in _named(known[module].read_text("utf-8")):
        while name:
            if name in known:
                found.add(name)
            name = name.rpartition(".")[0]
    return found - {module}


@lru_cache(maxsize=1024)  # a closure asks for the same source again and again
def _named(source: str) -> tuple[str, ...]:
    return tuple(_names(ast.parse(source)))


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def closure(module: str, known: dict[str, Path]) -> set[str]:
    """`module` and everything of the project it needs, directly or not."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [*imports(name, known), *([name.rpartition(".")[0]] if "." in name else [])]
    return found
