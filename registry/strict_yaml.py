"""YAML with one reading: what two YAML readers could take differently is refused.

Accepted: one document of mappings, sequences, plain, quoted and folded text, `true` and `false`, and
decimal integers. Every other scalar is text: `NO` is Norway, `2020-01-06` is text until a schema reads it
as a date. Refused: duplicate keys, anchors, aliases, tags, keys that are not text, several documents,
nesting deeper than `MAX_DEPTH`.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import yaml

Tree: TypeAlias = "dict[str, Tree] | list[Tree] | str | int | bool"

MAX_DEPTH = 8


class StrictYamlError(ValueError):
    """What was wrong and where, in one line."""


class _Loader(yaml.SafeLoader):
    # A table of its own: none of YAML 1.1's implicit types (dates, octals, yes/no, null, merge keys) applies.
    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own way of declaring it

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise _Refusal("no anchors or aliases", str(event.anchor), event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _Refusal("no tags", str(event.tag), event.start_mark)
        if self.depth >= MAX_DEPTH:
            raise _Refusal(f"at most {MAX_DEPTH} levels", "more", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise _Refusal("text as key", str(key.value), key.start_mark)
            if key.value in seen:
                raise _Refusal("each key once", f"{key.value} again", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Refusal(yaml.MarkedYAMLError):
    def __init__(self, expected: str, found: str, mark: yaml.Mark) -> None:
        super().__init__(problem=f"expected {expected}, found {found}", problem_mark=mark)


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^-?(?:0|[1-9][0-9]{0,14})$"), list("-0123456789"))


def parse(raw: bytes) -> Tree:
    """The tree that `raw`, UTF-8 without a byte order mark, holds. Raises StrictYamlError naming the line."""
    try:
        text = raw.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise StrictYamlError(f"line {line}: expected UTF-8, found byte 0x{raw[error.start]:02x}") from error
    if text.startswith("\ufeff"):
        raise StrictYamlError("line 1: expected no byte order mark, found one")
    try:
        tree: Tree = _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise StrictYamlError(f"line {line}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise StrictYamlError(f"expected YAML text, found: {str(error).splitlines()[0]}") from error
    if tree is None:
        raise StrictYamlError("expected a document, found none")
    return tree
