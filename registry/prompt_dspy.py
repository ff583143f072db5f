"""DSPy, the only module that imports it: our signature as its, its messages as our template, its optimisers.

It lies in an environment of its own (`make prompts`); whatever replays or verifies does without it. Nothing here lets
it reach for a network: models are asked through an engine of ours, its caches are off and LiteLLM is never imported.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from registry.errors import DspyUnavailableError, PromptError, RegistryUnavailableError
from registry.prompt_examples import Example
from registry.prompt_manifest import Setting
from registry.prompt_model import Model
from registry.prompt_signature import Output, Signature
from registry.prompt_template import BETWEEN, Message, Said, Section, Template

MAX_TOKENS: Final = 1000  # of an answer, and of an instruction proposed
MAX_ERRORS: Final = 10**6  # answers that cannot be read score nothing; a model that fails is another thing, below
MIPROV2: Final = MappingProxyType(
    {"max_bootstrapped_demos": 4, "max_labeled_demos": 12, "num_candidates": 8, "num_trials": 20}
)
GEPA: Final = MappingProxyType({"max_metric_calls": 1500, "reflection_minibatch_size": 20})


def available() -> bool:
    """Whether DSPy can be imported here."""
    try:
        imported()
    except DspyUnavailableError:
        return False
    return True


def imported() -> Any:
    """The module `dspy`, its caches off. Raises DspyUnavailableError where it is not installed."""
    # at import it would else fetch a list of prices, if ever something made it import LiteLLM
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")
    try:
        dspy: Any = importlib.import_module("dspy")
    except ModuleNotFoundError as error:
        if error.name != "dspy":
            raise
        how = "make prompts, then .prompts/bin/python -m registry prompts"
        raise DspyUnavailableError(f"dspy: expected an environment that has it ({how}), found none") from error
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    logging.getLogger("dspy").setLevel(logging.ERROR)
    return dspy


def version() -> str:
    """The version of DSPy that is installed here."""
    return str(imported().__version__)


def program(signature: Signature, instruction: str) -> Any:
    """A DSPy predictor of the signature, with this instruction and without demonstrations."""
    dspy = imported()
    fields: dict[str, Any] = {
        field.name: (str if field.kind == "text" else dspy.Image, dspy.InputField(desc=field.description))
        for field in signature.inputs
    }
    for output in signature.outputs:
        bounds = {"ge": output.minimum, "le": output.maximum}
        given = {name: bound for name, bound in bounds.items() if bound is not None}
        fields[output.name] = (_type(output), dspy.OutputField(desc=output.description, **given))
    return dspy.Predict(dspy.Signature(fields, instruction))


def saved(predictor: Any) -> bytes:
    """DSPy's own saved state of the predictor."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "program.json"
        predictor.save(path)
        return path.read_bytes()


def loaded(raw: bytes, signature: Signature) -> Any:
    """The predictor of the signature whose saved state is `raw`."""
    predictor = program(signature, "")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "program.json"
        path.write_bytes(raw)
        predictor.load(path)
    return predictor


def render(predictor: Any, signature: Signature, inputs: Mapping[str, str]) -> tuple[Message, ...]:
    """The messages that DSPy's adapter renders, an image as `sha256:<hex>`."""
    dspy = imported()
    kinds = {field.name: field.kind for field in signature.inputs}
    # the adapter takes only URLs: the digest travels as a data URL of its text
    given = {
        name: value if kinds[name] == "text" else dspy.Image(f"data:,{value.removeprefix('sha256:')}")
        for name, value in inputs.items()
    }
    said = _adapter().format(predictor.signature, predictor.demos, given)
    return tuple({"role": each["role"], "content": _named(each["content"])} for each in said)


def template(predictor: Any, signature: Signature) -> Template:
    """The template that renders as DSPy does. Raises PromptError where the messages cannot be taken apart."""
    places = {field.name: f"\ue000{number}\ue001" for number, field in enumerate(signature.inputs)}
    images = {field.name: f"sha256:{number:064x}" for number, field in enumerate(signature.inputs)}
    kinds = {field.name: field.kind for field in signature.inputs}
    *said, asked = render(predictor, signature, {n: places[n] if kinds[n] == "text" else images[n] for n in places})
    if any("\ue000" in each["content"] for each in said):
        raise PromptError("template: expected no U+E000 in the instruction and demonstrations, found one")
    parts = asked["content"] if isinstance(asked["content"], list) else [{"type": "text", "text": asked["content"]}]
    by_image = {images[name]: place for name, place in places.items()}
    rest = "".join(part["text"] if part["type"] == "text" else by_image[part["image_url"]["url"]] for part in parts)
    sections: list[Section] = []
    for name, place in places.items():
        before, found, rest = rest.partition(place)
        if not found:
            raise PromptError(f"template: expected a place for {name}, found none")
        sections.append(Section(input=name, before=before.removeprefix(BETWEEN) if sections else before))
    return Template(
        said=tuple(Said(role=each["role"], content=each["content"]) for each in said),
        sections=tuple(sections),
        end=rest.removeprefix(BETWEEN),
    )


def optimised(
    predictor: Any,
    signature: Signature,
    examples: Sequence[Example],
    model: Model,
    optimiser: Literal["MIPROv2", "GEPA"],
    seed: int,
) -> tuple[Any, dict[str, Setting]]:
    """The predictor as the optimiser leaves it, without images in its demonstrations, and the settings used.

    Every other example is learned from (demonstrations, reflection); the others choose between candidates. Raises
    RegistryUnavailableError where the model did not answer.
    """
    dspy = imported()
    engine = _Engine(model)
    lm = dspy.LM("noptik/model", engine=engine, cache=False, num_retries=0, temperature=0.0, max_tokens=MAX_TOKENS)
    held = [_example(dspy, signature, example) for example in examples]
    if len(held) < 4:
        raise PromptError(f"examples: expected at least 4 to optimise on, found {len(held)}")
    learned, judged = held[::2], held[1::2]
    with _answering(engine), _quiet(), dspy.context(lm=lm, adapter=_adapter(), num_threads=1):
        if optimiser == "MIPROv2":
            settings: dict[str, Setting] = {**MIPROV2, "minibatch": False, "split": "alternate"}
            best = _miprov2(dspy, predictor, signature, learned, judged, seed)
        else:
            settings = {**GEPA, "split": "alternate"}
            best = _gepa(dspy, predictor, signature, learned, judged, seed, lm)
    images = {field.name for field in signature.inputs if field.kind == "image"}
    best.demos = [{name: value for name, value in dict(demo).items() if name not in images} for demo in best.demos]
    return best, settings


def _miprov2(dspy: Any, predictor: Any, signature: Signature, learned: Any, judged: Any, seed: int) -> Any:
    demos = {name: MIPROV2[name] for name in ("max_bootstrapped_demos", "max_labeled_demos")}

    def metric(gold: Any, answer: Any, trace: Any = None) -> float:  # noqa: ARG001
        return _share(signature, gold, answer)

    optimiser = dspy.MIPROv2(
        metric=metric,
        metric_threshold=1.0,  # a demonstration is right in every output
        auto=None,
        num_candidates=MIPROV2["num_candidates"],
        num_threads=1,
        max_errors=MAX_ERRORS,
        seed=seed,
        track_stats=False,
        **demos,
    )
    return optimiser.compile(
        predictor,
        trainset=learned,
        valset=judged,
        num_trials=MIPROV2["num_trials"],
        minibatch=False,
        seed=seed,
    )


def _gepa(dspy: Any, predictor: Any, signature: Signature, learned: Any, judged: Any, seed: int, lm: Any) -> Any:
    from_instruction = importlib.import_module("dspy.teleprompt.gepa.instruction_proposal").InstructionProposer

    def metric(gold: Any, answer: Any, trace: Any = None, name: Any = None, inner: Any = None) -> Any:  # noqa: ARG001
        said = [
            f"{output.name}: {_said(gold, output)} is right"
            if _is_right(output, gold, answer)
            else f"{output.name}: expected {_said(gold, output)}, found {_said(answer, output)}"
            for output in signature.outputs
        ]
        return dspy.Prediction(score=_share(signature, gold, answer), feedback="; ".join(said) + ".")

    optimiser = dspy.GEPA(
        metric=metric,
        reflection_lm=lm,
        instruction_proposer=from_instruction(adapter=_adapter()),
        num_threads=1,
        seed=seed,
        **GEPA,
    )
    return optimiser.compile(predictor, trainset=learned, valset=judged)


class _Engine:
    """DSPy's seam for a model of ours; after a first failure it asks no more, and `failure` says why."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.failure: RegistryUnavailableError | None = None

    def complete(self, request: Any) -> Any:
        """The answer to one canonical request of DSPy's."""
        lm15 = importlib.import_module("dspy.lm15")
        if self.failure is not None:
            raise self.failure
        system = request.system if isinstance(request.system, str) else "".join(p.text for p in request.system or ())
        messages = [{"role": "system", "content": system}] if system else []
        messages += [{"role": each.role, "content": _wire(each.parts)} for each in request.messages]
        temperature = 0.0 if request.config.temperature is None else float(request.config.temperature)
        try:
            text = self.model.ask(messages, temperature, request.config.max_tokens or MAX_TOKENS)
        except RegistryUnavailableError as error:
            self.failure = error
            raise
        return lm15.Response(
            id=None,
            model=self.model.name,
            message=lm15.Message.assistant([lm15.TextPart(text)]),
            finish_reason="stop",
            usage=lm15.Usage(input_tokens=0, output_tokens=0, total_tokens=0),
        )


def _wire(parts: Any) -> Any:
    """A message's parts as an OpenAI-compatible endpoint takes them."""
    if all(part.type == "text" for part in parts):
        return "".join(part.text for part in parts)
    return [
        {"type": "text", "text": part.text}
        if part.type == "text"
        else {"type": "image_url", "image_url": {"url": part.url or f"data:{part.media_type};base64,{part.data}"}}
        for part in parts
    ]


def _example(dspy: Any, signature: Signature, example: Example) -> Any:
    inputs = {
        name: dspy.Image(example.images[value]) if value in example.images else value
        for name, value in example.inputs.items()
    }
    return dspy.Example(**inputs, **example.labels).with_inputs(*(field.name for field in signature.inputs))


def _type(output: Output) -> Any:
    if output.kind == "choice":
        return Literal[output.values]
    return bool if output.kind == "flag" else float


def _share(signature: Signature, gold: Any, answer: Any) -> float:
    return sum(_is_right(output, gold, answer) for output in signature.outputs) / len(signature.outputs)


def _is_right(output: Output, gold: Any, answer: Any) -> bool:
    return bool(getattr(gold, output.name) == getattr(answer, output.name, None))


def _said(record: Any, output: Output) -> str:
    return str(getattr(record, output.name, None))


def _adapter() -> Any:
    return imported().ChatAdapter(use_json_adapter_fallback=False)


def _named(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [
        {"type": "image_url", "image_url": {"url": f"sha256:{part['image_url']['url'].removeprefix('data:,')}"}}
        if part["type"] == "image_url"
        else {"type": "text", "text": part["text"]}
        for part in content
    ]


@contextlib.contextmanager
def _answering(engine: _Engine) -> Iterator[None]:
    """Afterwards the engine's model has answered all through; or its failure is raised, which optimisers hide."""
    try:
        yield
    finally:
        if engine.failure is not None:
            raise engine.failure


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Inside, what the optimisers print, progress bars above all, is dropped: what matters is raised."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
