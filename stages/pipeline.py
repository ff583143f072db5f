"""dvc.yaml, written from what the stages declare: `python -m stages.pipeline` prints it.

DVC follows no imports, so each stage's `deps` name every file its code is made of; what it reads and writes comes from
its STAGE. A test holds the committed dvc.yaml against this, so the two cannot drift apart.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from stages.closure import closure, modules
from stages.creative_sources import CREATIVES, LOCK, PROMPTS
from stages.hazard import LABELLED
from stages.registered import REGIMES
from stages.stage import STAGES, Stage

HEAD = """\
# Written by `python -m stages.pipeline > dvc.yaml` from the stages' own declarations; a test holds the two together.
# Each stage runs once a forecast declared in params.yaml. The ledger is no output: DVC deletes outputs before a run.
stages:
"""
ITEM = "${item.forecast}"
FOLDER = f"artifacts/{ITEM}"
# beside artifacts and code: what a stage reads from the project
INPUTS = {
    "ingest": ("data",),
    "features": (CREATIVES, PROMPTS, LOCK),
    "register": ("registry/private", REGIMES),
    "hazard": (LABELLED, REGIMES),
    "detect": (REGIMES,),
}
PARAMS = {"ingest": (f"specs.{ITEM}",), "features": (f"specs.{ITEM}",), "register": (f"specs.{ITEM}",)}
# what cannot be seen by imports: locked packages, and the template of the report
FILES = {"report": ("stages/page.html.j2",)}


def text(root: Path) -> str:
    """The whole of dvc.yaml."""
    known = modules(root)
    runner = closure("stages.__main__", known)
    parts = [HEAD]
    for name in STAGES:
        module = importlib.import_module(f"stages.{name}")
        code = sorted(str(known[m].relative_to(root)) for m in closure(module.__name__, known) | runner)
        parts.append("\n".join(_stage(module.STAGE, str(module.__doc__).splitlines()[0], code)))
    return "\n".join(parts)


def _stage(stage: Stage, title: str, code: list[str]) -> Iterator[str]:
    name = stage.name
    yield f"  {name}:"
    yield "    matrix: {forecast: '${forecasts}'}"
    yield f"    desc: {json.dumps(title.partition(': ')[2])}"
    yield f"    cmd: python -m stages {name} {ITEM}"
    if name in PARAMS:
        yield "    params:"
        yield from (f"      - {key}" for key in PARAMS[name])
    yield "    deps:"
    artifacts = sorted(f"{FOLDER}/{read}" for read in (*stage.reads, *_facts(stage)))
    for dependency in (*artifacts, *INPUTS.get(name, ()), *FILES.get(name, ()), "requirements.lock", *code):
        yield f"      - {dependency}"
    yield "    outs:"
    yield f"      - {FOLDER}/{name}"
    if stage.stated:
        yield f"      - {FOLDER}/statements/{name}.json"
        yield f"      - {FOLDER}/run/{name}.json"
    yield ""


def _facts(stage: Stage) -> tuple[str, ...]:
    """seal signs the volatile facts of every stage it seals; no other stage reads them."""
    statements = (read for read in stage.reads if read.startswith("statements/"))
    return tuple(read.replace("statements/", "run/") for read in statements)


if __name__ == "__main__":
    sys.stdout.write(text(Path.cwd()))
