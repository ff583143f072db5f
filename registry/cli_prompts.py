"""`registry prompts compile | freeze | check | list | diff`: prompts optimised once, frozen, and verified ever after.

`compile` and the whole of `check` need DSPy: run them with `.prompts/bin/python -m registry prompts` (`make prompts`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from registry import prompt_compile, prompt_diff, prompt_dspy, prompt_folder, prompt_model, prompts
from registry.errors import Fault, RegistryUnavailableError, UnsoundPromptError
from registry.prompt_folder import Frozen
from registry.prompts import Prompt

_LOCK = Path(__file__).parent.parent / prompts.LOCK


def add(parser: argparse.ArgumentParser) -> None:
    """Afterwards `parser` knows the actions of this noun."""
    parser.add_argument("--folder", type=Path, default=prompts.SHIPPED, help="folder of frozen prompts")
    parser.add_argument("--lock", type=Path, default=_LOCK, help="the lock file that pins DSPy")
    actions = parser.add_subparsers(dest="action", required=True)
    compiled = actions.add_parser("compile", help="optimise a prompt against labelled examples: a draft (needs DSPy)")
    compiled.add_argument("signature", type=Path, metavar="SIGNATURE.json", help="its typed inputs and outputs")
    compiled.add_argument("--train", type=Path, required=True, metavar="FILE.jsonl", help="labelled examples")
    compiled.add_argument("--held-out", type=Path, required=True, metavar="FILE.jsonl", help="others, to score it on")
    compiled.add_argument("--optimiser", choices=prompt_compile.OPTIMISERS, required=True)
    compiled.add_argument("--seed", type=_seed, required=True, metavar="N", help="of the optimiser")
    compiled.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help=f"nearest (embedded), or a model at {prompt_model.BASE_URL} (its key in a file: {prompt_model.KEY_FILE})",
    )
    compiled.add_argument("--revision", default="unstated", metavar="TEXT", help="which version of that model")
    compiled.add_argument("--instructions", metavar="TEXT", help="where to begin (default: the fields, named)")
    compiled.add_argument("-o", dest="out", type=Path, required=True, metavar="DRAFT_FOLDER")
    frozen = actions.add_parser("freeze", help="a draft becomes a version, which never changes")
    frozen.add_argument("draft", type=Path, metavar="DRAFT_FOLDER")
    frozen.add_argument("name", metavar="NAME", help="with its version: offer_v1")
    frozen.add_argument("--by", required=True, metavar="WHO", help="who freezes it")
    frozen.add_argument("--reason", required=True, metavar="TEXT", help="why, in one line")
    frozen.add_argument("--on", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD", help="the day")
    actions.add_parser("check", help="exit 1 unless every digest of every version holds")
    actions.add_parser("list", help="one line a version")
    diff = actions.add_parser("diff", help="what changed from one version to another")
    diff.add_argument("one", metavar="A")
    diff.add_argument("other", metavar="B")


def run(options: argparse.Namespace) -> int:
    """The exit code of the action. RegistryError: what is not sound or cannot be read; AuditError: no such endpoint."""
    actions = {"compile": _compile, "freeze": _freeze, "check": _check, "list": _list, "diff": _diff}
    return actions[options.action](options)


def _seed(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) >= 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2^32 - 1, found {value!r}")
    return int(value)


def _compile(options: argparse.Namespace) -> int:
    draft = prompt_compile.compiled(
        options.signature,
        options.train,
        options.held_out,
        options.optimiser,
        options.seed,
        prompt_model.named(options.model, options.revision, os.environ),
        options.instructions,
        options.out,
    )
    print(prompt_diff.score("train", draft.train))
    print(prompt_diff.score("held-out", draft.held_out))
    return 0


def _freeze(options: argparse.Namespace) -> int:
    manifest = prompt_folder.freeze(
        options.folder, options.draft, options.name, options.by, options.on, options.reason, _pinned(options)
    )
    print(f"{manifest.name}: {manifest.reason}")
    return 0


def _check(options: argparse.Namespace) -> int:
    found = _sound(options, _pinned(options))
    for prompt in found.prompts:
        print(f"{prompt.name} sha256 {prompt.sha256}")
    print(f"{len(found.prompts)} prompts, every digest holds")
    if not prompt_dspy.available():
        how = "make prompts; .prompts/bin/python -m registry prompts check"
        print(f"not rendered again: DSPy is not installed here ({how})")
        return 0
    here = prompt_dspy.version()
    same = [prompt for prompt in found.prompts if prompt.manifest.dspy == here]
    faults = [fault for prompt in same for fault in _rendered(prompt)]
    if faults:
        raise UnsoundPromptError(faults)
    probes = sum(len(prompt.manifest.probes) for prompt in same)
    print(f"rendered again by DSPy {here}: {probes} probes of {len(same)} prompts")
    return 0


def _rendered(prompt: Prompt) -> Iterator[Fault]:
    return prompts.probed(prompt_compile.again(prompt), prompt.manifest, prompt.name, "messages of DSPy")


def _list(options: argparse.Namespace) -> int:
    for prompt in _sound(options, None).prompts:
        manifest = prompt.manifest
        held = manifest.held_out.score
        optimiser = f"{manifest.optimiser.name} for {manifest.model}"
        score = f"held-out {held.before} -> {held.after} of {held.outputs}"
        print(f"{manifest.date}  {prompt.name:24}  dspy {manifest.dspy}  {optimiser}  {score}  {manifest.reason}")
    return 0


def _diff(options: argparse.Namespace) -> int:
    known = {prompt.name: prompt for prompt in _sound(options, None).prompts}
    for name in (options.one, options.other):
        if name not in known:
            expected = ", ".join(known) or "none is frozen"
            print(f"registry: expected the name of a prompt ({expected}), found {name!r}", file=sys.stderr)
            return 2
    for line in prompt_diff.lines(known[options.one], known[options.other]):
        print(line)
    return 0


def _sound(options: argparse.Namespace, pinned: str | None) -> Frozen:
    found = prompt_folder.read(options.folder, pinned)
    if found.faults:
        raise UnsoundPromptError(found.faults)
    return found


def _pinned(options: argparse.Namespace) -> str:
    try:
        return prompts.pinned_dspy(options.lock.read_bytes())
    except OSError as error:
        raise RegistryUnavailableError(f"{options.lock}: expected a lock file, found: {error.strerror}") from error
