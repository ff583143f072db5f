"""Reading a model's answer: sections `[[ ## name ## ]]`, each typed by the signature.

What is around the sections is passed over as DSPy's ChatAdapter does: text before the first one, and sections of other
names, `completed` among them; of two sections of one name the first counts. A value itself is read
strictly: where DSPy repairs JSON, this refuses. So whatever is read here, DSPy 3.4 reads alike, and not the reverse.

An answer may repeat a client's text: an error shows of it MAX_SHOWN characters of a value, and nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NoReturn

from registry.errors import AnswerError, AnswerMissingError, AnswerNotAllowedError, AnswerOutOfRangeError
from registry.prompt_signature import Output, Signature, Value

MAX_CHARS: Final = 1_000_000
MAX_SHOWN: Final = 20
_HEADER = re.compile(r"\[\[ ## (\w+) ## \]\]")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,3})?")
_FLAGS: Final = MappingProxyType({"True": True, "true": True, "False": False, "false": False})


def read(signature: Signature, content: str) -> Mapping[str, Value]:
    """The value of every output, in the signature's order: text of a choice, finite float of a number, bool of a flag.

    Raises AnswerMissingError, AnswerNotAllowedError or AnswerOutOfRangeError, naming the output, what was expected and
    what was found.
    """
    if len(content) > MAX_CHARS:
        raise AnswerError(f"answer: expected at most {MAX_CHARS} characters, found {len(content)}")
    sections = _sections(content)
    for output in signature.outputs:
        if output.name not in sections:
            expected = f"a section [[ ## {output.name} ## ]]"
            raise AnswerMissingError(f"{output.name}: expected {expected}, found {_named(signature, sections)}")
    return MappingProxyType({output.name: _value(output, sections[output.name]) for output in signature.outputs})


def _sections(content: str) -> dict[str, str]:
    """Text of each section by its name, the first of each name."""
    found: dict[str, str] = {}
    name, lines = "", list[str]()
    for line in [*content.splitlines(), "[[ ## completed ## ]]"]:
        match = _HEADER.match(line.strip())
        if match is None:
            lines.append(line)
            continue
        if name:
            found.setdefault(name, "\n".join(lines).strip())
        # the offset into the stripped line, applied to the line as it is: as ChatAdapter does
        rest = line[match.end() :].strip()
        name, lines = match.group(1), [rest] if rest else []
    return found


def _named(signature: Signature, sections: Mapping[str, str]) -> str:
    """Which sections there are: outputs by name, others by number, as their names are the answer's words."""
    known = [output.name for output in signature.outputs if output.name in sections]
    others = len(sections) - len(known)
    return f"sections {', '.join([*known, f'{others} of other names'] if others else known) or 'none'}"


def _value(output: Output, text: str) -> Value:
    if output.kind == "choice":
        if text not in output.values:
            _not_allowed(output, f"one of {', '.join(output.values)}", text)
        return text
    if output.kind == "flag":
        if text not in _FLAGS:
            _not_allowed(output, "True or False", text)
        return _FLAGS[text]
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        _not_allowed(output, "a finite decimal number", text)
    low = -math.inf if output.minimum is None else output.minimum
    high = math.inf if output.maximum is None else output.maximum
    if not low <= number <= high:
        raise AnswerOutOfRangeError(f"{output.name}: expected a number from {low} to {high}, found {number:g}")
    return number


def _not_allowed(output: Output, expected: str, found: str) -> NoReturn:
    more = f"... ({len(found)} characters)" if len(found) > MAX_SHOWN else ""
    raise AnswerNotAllowedError(f"{output.name}: expected {expected}, found {found[:MAX_SHOWN]!a}{more}")
