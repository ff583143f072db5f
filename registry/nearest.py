"""`nearest`: a deterministic stand-in for a language model, small enough to read; it sees text alone.

It answers a chat that DSPy's ChatAdapter rendered, from the messages and nothing else:

- each output by the first keyword rule of the instruction, `word -> value` or `word -> output=value`, whose word is in
  the request and whose value the output allows;
- else by the label of the demonstration that shares the most words with the request (Jaccard; the earlier of equals);
- else by the first allowed value.

So instruction and demonstrations truly change what it answers. Asked for an instruction, as optimisers do, it proposes
rules that it learns from the examples shown: words that came with one value and with no other. Whatever else it is
asked to write, it answers with one fixed sentence.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

NAME: Final = "nearest"
REVISION: Final = "1"

_WORD = re.compile(r"[^\W_]+%?")
_HEADER = re.compile(r"\[\[ ## \w+ ## \]\]")
_FIELD = re.compile(r"^\d+\. `(\w+)` \((.*?)\):(.*?)(?=^\d+\. `|\Z)", re.MULTILINE | re.DOTALL)
_ALLOWED = re.compile(r"'([^']*)'")
_MINIMUM = re.compile(r"greater than or equal to: (-?[0-9.]+)")
_RULE = re.compile(r"^\W*([^\W_]+%?) -> (?:(\w+)=)?([\w.-]+)$", re.MULTILINE)
_OBJECTIVE: Final = "your objective is: "
_REMINDER: Final = "\n\nRespond with the corresponding output fields"
_INCOMPLETE: Final = "This is an example of the task, though some input or output fields are not supplied."
_SENTENCE: Final = "Short texts, each with its labels."
_EXPECTED = re.compile(r"(\w+): expected (\S+), found (\S+)")
_RIGHT = re.compile(r"(\w+): (\S+) is right")
_OUTPUTS = re.compile(r"\([\w, ]*\) -> ([\w, ]+)")
_COMMON: Final = frozenset(
    _WORD.findall(
        "a all an and any are as at be by can for from get has have if in is it its more no not of on one or our out "
        "so that the their them they this to until up us we what when with you your"
    )
)
MOST_RULES: Final = 12  # in one proposal
FEW_RULES: Final = 4  # where it is told to be concise


class Rule(NamedTuple):
    """`word -> value`, or of one output alone."""

    word: str
    output: str
    value: str

    def __str__(self) -> str:
        return f"{self.word} -> {self.output}={self.value}" if self.output else f"{self.word} -> {self.value}"


class Example(NamedTuple):
    """Words of an input, and what each output should be."""

    words: frozenset[str]
    labels: Mapping[str, str]


def answer(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the model says to `messages` ({"role", "content"}, content text or parts), at least one; the same always."""
    system = _text(messages[0]["content"])
    declared = system.partition("Your output fields are:\n")[2].partition("\nAll interactions")[0]
    outputs = {name: _allowed(kind, rest) for name, kind, rest in _FIELD.findall(declared)}
    asked = _text(messages[-1]["content"])
    if any(allowed is None for allowed in outputs.values()):
        said = {name: _written(name, asked) for name in outputs}
    else:
        known = {name: allowed for name, allowed in outputs.items() if allowed is not None}
        said = _labels(known, system.rpartition(_OBJECTIVE)[2], messages)
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in {**said, "completed": ""}.items()).strip()


def rules(instruction: str) -> tuple[Rule, ...]:
    """The keyword rules of an instruction, one a line, in its order."""
    return tuple(Rule(word.casefold(), output, value) for word, output, value in _RULE.findall(instruction))


def words(text: str) -> frozenset[str]:
    """The words of a text, case and section headers aside; a number keeps its percent sign."""
    return frozenset(_WORD.findall(_HEADER.sub(" ", text).casefold()))


def learned(examples: Sequence[Example]) -> tuple[Rule, ...]:
    """Rules for words that came with one value of an output and with no other, the most frequent first."""
    seen: dict[tuple[str, str], Counter[str]] = {}
    for example in examples:
        for output, value in example.labels.items():
            for word in example.words - _COMMON:
                seen.setdefault((word, output), Counter())[value] += 1
    common = {output: _commonest(examples, output) for _, output in seen}
    sure = [
        (-sum(values.values()), -len(word), word, output, next(iter(values)))
        for (word, output), values in seen.items()
        if len(values) == 1 and next(iter(values)) != common[output] and len(word) > 2
    ]
    return tuple(Rule(word, output, value) for _, _, word, output, value in sorted(sure))


def _commonest(examples: Sequence[Example], output: str) -> str:
    """The value that needs no rule, if the examples have several."""
    values = Counter(example.labels[output] for example in examples if output in example.labels)
    return min(values, key=lambda value: (-values[value], value)) if len(values) > 1 else ""


def _labels(
    outputs: Mapping[str, Sequence[str]], instruction: str, messages: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    given = words(_text(messages[-1]["content"]).rpartition(_REMINDER)[0])
    met = [rule for rule in rules(instruction) if rule.word in given]
    shown = [each for each in _demonstrations(messages) if each.words & given]
    near = sorted(shown, key=lambda each: -len(each.words & given) / len(each.words | given))
    said: dict[str, str] = {}
    for name, allowed in outputs.items():
        ruled = [rule.value for rule in met if rule.output in ("", name) and _fits(rule.value, allowed)]
        labelled = [each.labels[name] for each in near if name in each.labels]
        said[name] = next(iter([*ruled, *labelled, *allowed]))
    return said


def _allowed(kind: str, rest: str) -> list[str] | None:
    """The values of an output by its rendered type; of a number the least; None: it is text."""
    if kind == "bool":
        return ["False", "True"]
    if kind == "float":
        minimum = _MINIMUM.search(rest)
        return [minimum[1] if minimum else "0"]
    return _ALLOWED.findall(kind) if kind.startswith("Literal[") else None


def _fits(value: str, allowed: Sequence[str]) -> bool:
    number = re.compile(r"-?[0-9]+(\.[0-9]+)?")
    return value in allowed or (number.fullmatch(allowed[0]) is not None and number.fullmatch(value) is not None)


def _demonstrations(messages: Sequence[Mapping[str, Any]]) -> list[Example]:
    said = [(each["role"], _text(each["content"])) for each in messages[1:-1]]
    pairs = zip(said[::2], said[1::2], strict=False)
    return [
        Example(words(user.replace(_INCOMPLETE, "")), _sections(reply))
        for (role, user), (other, reply) in pairs
        if (role, other) == ("user", "assistant")
    ]


def _sections(reply: str) -> dict[str, str]:
    pieces = re.split(r"^\[\[ ## (\w+) ## \]\]$", reply, flags=re.MULTILINE)
    found = {name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
    return {name: text for name, text in found.items() if text and "Not supplied" not in text}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _written(name: str, asked: str) -> str:
    """What is said where text is to be written: a new instruction, or the one sentence."""
    if name == "new_instruction":
        return _reflected(_between(asked, "current_instruction"), _between(asked, "examples_with_feedback"))
    if name == "proposed_instruction":
        tip = _between(asked, "tip")
        most = FEW_RULES if "concise" in tip else MOST_RULES
        examples = _shown(_between(asked, "task_demos"), _between(asked, "module"))
        return _with(_between(asked, "basic_instruction"), learned(examples)[:most])
    return _SENTENCE


def _between(asked: str, name: str) -> str:
    """The text of one section of what is asked, to the next header or the reminder."""
    text = asked.partition(f"[[ ## {name} ## ]]\n")[2].partition(_REMINDER)[0]
    return _HEADER.split(text)[0].strip()


def _shown(demonstrations: str, module: str) -> list[Example]:
    """The examples that MIPROv2's proposer shows, `Prefix: value` a line; `module` says which lines are outputs."""
    declared = _OUTPUTS.search(module)
    names = [name.strip() for name in declared[1].split(",")] if declared else []
    prefixes = {f"{name.replace('_', ' ').capitalize()}:".casefold(): name for name in names}
    examples = []
    for shown in demonstrations.split("\n\n"):
        labels: dict[str, str] = {}
        text: list[str] = []
        for line in shown.splitlines():
            head, _, value = line.partition(" ")
            matching = next((name for prefix, name in prefixes.items() if line.casefold().startswith(prefix)), None)
            if matching is None:
                text.append(value if head.endswith(":") else line)
            else:
                labels[matching] = line.partition(": ")[2]
        if labels:
            examples.append(Example(words("\n".join(text)), labels))
    return examples


def _reflected(instruction: str, feedback: str) -> str:
    """The instruction without the rules that the feedback proves wrong, and with rules learned from it at its end."""
    try:
        shown = json.loads(feedback)
    except ValueError:
        return instruction
    examples, wrong = [], set[tuple[str, str]]()
    for each in shown if isinstance(shown, list) else []:
        if not isinstance(each, dict) or not isinstance(each.get("Inputs"), dict):
            continue
        inputs = " ".join(str(value) for value in each["Inputs"].values())
        said = str(each.get("Feedback", ""))
        missed = {output: value for output, value, _ in _EXPECTED.findall(said)}
        examples.append(Example(words(inputs), {**dict(_RIGHT.findall(said)), **missed}))
        wrong |= {(word, output) for word in examples[-1].words for output in missed}
    kept = [rule for rule in rules(instruction) if (rule.word, rule.output) not in wrong]
    known = {(rule.word, rule.output) for rule in kept}
    new = [
        rule
        for rule in learned(examples)
        if (rule.word, rule.output) in wrong and (rule.word, rule.output) not in known
    ]
    base = "\n".join(line for line in instruction.splitlines() if not _RULE.match(line))
    return _with(base.strip(), [*kept, *new[:MOST_RULES]])


def _with(instruction: str, rules: Iterable[Rule]) -> str:
    return "\n".join([instruction, *map(str, rules)]).strip()
