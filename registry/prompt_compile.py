"""Compiling: the only place where an optimiser runs. It ends in a draft, a folder that a person may freeze.

A score is taken as inference will be: messages rendered from the template, answers read by the signature; an answer
that is refused has no right outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from registry import chain, prompt_dspy, prompt_examples, prompt_probes, prompt_signature, prompts
from registry import prompt_folder as folders
from registry import prompt_template as templates
from registry.errors import AnswerError, PromptError, RegistryUnavailableError
from registry.prompt_answer import read
from registry.prompt_examples import Example, Examples
from registry.prompt_manifest import (
    DRAFT,
    METRIC,
    PROBES,
    PROGRAM,
    SIGNATURE,
    TEMPLATE,
    Draft,
    Optimiser,
    Score,
    Setting,
)
from registry.prompt_manifest import Examples as Counted
from registry.prompt_model import Model
from registry.prompt_signature import Signature
from registry.prompt_template import Template

OPTIMISERS: Final = ("miprov2", "gepa", "none")
_NAMES: Final[dict[str, Literal["MIPROv2", "GEPA", "none"]]] = {"miprov2": "MIPROv2", "gepa": "GEPA", "none": "none"}


def compiled(
    signature_file: Path,
    train_file: Path,
    held_out_file: Path,
    optimiser: str,
    seed: int,
    model: Model,
    instruction: str | None,
    out: Path,
) -> Draft:
    """Afterwards the folder `out`, which was not there, is a whole draft; what it declares.

    `optimiser` is one of OPTIMISERS; `none` leaves the instruction as it is. Precondition: seed >= 0. Raises
    UnsoundPromptError for inputs that are not sound, RegistryUnavailableError for what cannot be read, written or
    asked, DspyUnavailableError without DSPy.
    """
    prompt_dspy.imported()
    try:
        signature = prompt_signature.parse(signature_file.read_bytes(), signature_file.name)
    except OSError as error:
        raise RegistryUnavailableError(f"{signature_file}: expected a file, found: {error.strerror}") from error
    train = prompt_examples.read(train_file, signature)
    held_out = prompt_examples.read(held_out_file, signature)
    prompt_examples.require_apart(train, held_out)
    if out.exists():
        raise PromptError(f"{out}: expected a folder that is not there yet, found one")
    if not out.parent.is_dir():  # before hours of optimising
        raise RegistryUnavailableError(f"{out}: expected a folder around it, found none")
    plain = prompt_dspy.program(signature, instruction or _instruction(signature))
    best = plain
    settings: dict[str, Setting] = {}
    name = _NAMES[optimiser]
    if name != "none":
        best, settings = prompt_dspy.optimised(plain, signature, train.examples, model, name, seed)
    before, after = (prompt_dspy.template(predictor, signature) for predictor in (plain, best))
    probes = prompt_probes.default(signature)
    files = {
        PROGRAM: prompt_dspy.saved(best),
        SIGNATURE: signature.raw,
        TEMPLATE: after.raw,
        PROBES: prompt_probes.raw(probes),
    }
    draft = Draft(
        adapter="chat",
        dspy=prompt_dspy.version(),
        files={file: chain.sha256(raw) for file, raw in files.items()},
        held_out=_counted(held_out, signature, before, after, model),
        metric=METRIC,
        model=model.name,
        optimiser=Optimiser(name=name, seed=seed, settings=settings),
        probes=tuple(
            templates.digest(prompt_dspy.render(prompt_dspy.loaded(files[PROGRAM], signature), signature, probe))
            for probe in probes
        ),
        revision=model.revision,
        train=_counted(train, signature, before, after, model),
    )
    prompts.rendering(files, draft, out.name, [])  # the template renders every probe as DSPy does
    folders.place(out, {**files, DRAFT: draft.raw})
    return draft


def again(prompt: prompts.Prompt) -> tuple[str, ...]:
    """Digests of the messages that DSPy, here and now, renders of the prompt's probes."""
    rendering = prompt.rendering
    predictor = prompt_dspy.loaded(rendering.files[PROGRAM], prompt.signature)
    return tuple(templates.digest(prompt_dspy.render(predictor, prompt.signature, each)) for each in rendering.probes)


def _instruction(signature: Signature) -> str:
    given = ", ".join(f"`{field.name}`" for field in signature.inputs)
    asked = ", ".join(f"`{field.name}`" for field in signature.outputs)
    return f"Given the fields {given}, produce the fields {asked}."


def _counted(held: Examples, signature: Signature, before: Template, after: Template, model: Model) -> Counted:
    right = [sum(_right(template, signature, each, model) for each in held.examples) for template in (before, after)]
    outputs = len(held.examples) * len(signature.outputs)
    score = Score(outputs=outputs, before=right[0], after=right[1])
    return Counted(sha256=held.sha256, examples=len(held.examples), score=score)


def _right(template: Template, signature: Signature, example: Example, model: Model) -> int:
    messages = prompt_examples.expand(template.render(signature, example.inputs), example.images)
    try:
        said = read(signature, model.ask(messages, 0.0, prompt_dspy.MAX_TOKENS))
    except AnswerError:
        return 0
    return sum(said[name] == label for name, label in example.labels.items())
