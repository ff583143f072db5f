"""Canonical JSON: RFC 8785 out, and a parser in that accepts nothing a second reader could read differently.

`encode` gives the one byte string of a value; `decode` refuses what JSON readers disagree about (duplicate
keys, NaN, lone surrogates, byte order marks, integers beyond 2^53, unbounded depth); `decode_canonical` also
refuses bytes that are not already canonical. Signed bytes are verified as they are, never re-canonicalised.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import rfc8785

from audit.errors import Malformed, Usage

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 64
MAX_INTEGER = 2**53 - 1  # RFC 7493 2.2: what an IEEE 754 double holds exactly
# possessive, so that hostile bytes cannot make it try twice; a string without an end takes the rest of the text
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(value: Any) -> bytes:
    """The RFC 8785 bytes of `value`: None, bool, int, float, str, or lists, tuples, str-keyed dicts of these.

    Usage for anything else, for NaN and infinities, for integers of magnitude 2^53 or more, for lone
    surrogates, and for nesting deeper than MAX_DEPTH, which `decode` would refuse.
    """
    _require_depth(value, MAX_DEPTH)
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise Usage(f"not representable in canonical JSON: {error}") from error


def record(value: Any) -> bytes:
    """`encode(value)`, with floats refused as well: a ledger record holds what every reader reads alike."""
    if _is_simple(value):
        return _encode_simple(value)
    for part in _parts(value):
        if isinstance(part, float):
            raise Usage("a ledger record holds no floats", expected="str, int, bool or None", found=part)
    return encode(value)


def decode(
    raw: bytes,
    *,
    floats: bool = False,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    where: str = "JSON",
) -> Any:
    """The value of a strict JSON text; Malformed, naming `where`, if any two readers might differ on it.

    Refused: other than UTF-8, a byte order mark, duplicate keys, NaN and infinities (also by overflow), lone
    surrogates, more than `max_bytes` bytes or `max_depth` levels. Without `floats`: every number with a
    fraction or an exponent, and integers of magnitude 2^53 or more. With `floats` a large integer is read as
    the double it denotes (RFC 8785 3.2.2.3).
    """
    text = _text(raw, max_bytes, max_depth, where)
    try:
        value = json.loads(
            text,
            object_pairs_hook=lambda pairs: _object(pairs, where),
            parse_float=_float_reader(floats, where),
            parse_int=_integer_reader(floats, where),
            parse_constant=lambda name: _refuse("not a JSON number", where, "a finite number", name),
        )
    except json.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error.msg}", where, "JSON (RFC 8259)", f"byte {error.pos}") from error
    if "\\u" in text:  # raw surrogates are not UTF-8, so only an escape can make one
        _require_no_surrogates(value, where)
    return value


def decode_canonical(raw: bytes, *, floats: bool = False, max_bytes: int = MAX_BYTES, where: str = "JSON") -> Any:
    """`decode(raw)`, and `raw` is its RFC 8785 form byte for byte: one value, one text."""
    value = decode(raw, floats=floats, max_bytes=max_bytes, where=where)
    require_bytes(raw, encode(value), "not canonical JSON (RFC 8785)", where)
    return value


def require_bytes(raw: bytes, expected: bytes, what: str, where: str) -> None:
    """Returns only if the two are equal; else Malformed, showing the place where they part."""
    if raw != expected:
        shorter = min(len(raw), len(expected))
        at = next((i for i in range(shorter) if raw[i] != expected[i]), shorter)
        place = slice(max(at - 20, 0), at + 20)
        raise Malformed(f"{what}, at byte {at}", where, ascii(expected[place]), ascii(raw[place]))


def decode_base64(text: str, where: str = "base64") -> bytes:
    """The bytes of standard base64 (RFC 4648 4), padded; Malformed unless encoding them gives `text` again.

    The comparison refuses what `b64decode` lets pass: non-zero trailing bits.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Malformed("not base64", where, "standard base64 (RFC 4648 4)", text) from error
    if (again := base64.b64encode(data).decode()) != text:
        _refuse("not canonical base64", where, again, text)
    return data


def _refuse(what: str, where: str, expected: object, found: object) -> NoReturn:
    raise Malformed(what, where, expected, found)


def _text(raw: bytes, max_bytes: int, max_depth: int, where: str) -> str:
    if len(raw) > max_bytes:
        _refuse("JSON too long", where, f"at most {max_bytes} bytes", f"{len(raw)} bytes")
    if raw.startswith(b"\xef\xbb\xbf"):
        _refuse("JSON begins with a byte order mark", where, "none (RFC 8259 8.1)", raw[:3])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("JSON is not UTF-8", where, "UTF-8", f"byte {error.start}") from error
    depth = deepest = 0
    for byte in _STRING.sub(b"", raw):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    if deepest > max_depth:  # before parsing: the parser is recursive
        _refuse("JSON nested too deeply", where, f"at most {max_depth} levels", deepest)
    return text


def _object(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        _refuse("duplicate key in a JSON object", where, "each key once", twice)
    return value


def _integer_reader(floats: bool, where: str) -> Callable[[str], int | float]:
    def read(digits: str) -> int | float:
        if len(digits) <= 17 and abs(value := int(digits)) <= MAX_INTEGER:
            return value
        if not floats:
            _refuse("integer too large", where, "magnitude below 2^53", digits)
        return _finite(digits, where)

    return read


def _float_reader(floats: bool, where: str) -> Callable[[str], float]:
    def read(digits: str) -> float:
        if not floats:
            _refuse("a float where none may be", where, "an integer or a string", digits)
        return _finite(digits, where)

    return read


def _finite(digits: str, where: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        _refuse("number overflows a double", where, "a finite number", digits)
    return value


def _is_simple(value: Any) -> bool:
    """Whether the standard library's encoder writes `value` as RFC 8785 does: no floats, object keys in ASCII."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for part in level:
            kind = type(part)
            if kind is dict:
                if not all(type(key) is str and key.isascii() for key in part):
                    return False
                inner.extend(part.values())
            elif kind is list or kind is tuple:
                inner.extend(part)
            elif not (kind is str or kind is bool or part is None or (kind is int and abs(part) <= MAX_INTEGER)):
                return False
        if not inner:
            return True
        level = inner
    return False  # nested deeply: `encode` says whether too deeply


def _encode_simple(value: Any) -> bytes:
    """As `encode`, ten times faster: without floats, the two differ only in the order of keys beyond ASCII."""
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise Usage(f"not representable in canonical JSON: {error}") from error


def _parts(value: Any) -> Iterable[Any]:
    """Every key and value inside `value`, itself included; without recursion."""
    stack = [value]
    while stack:
        part = stack.pop()
        yield part
        if isinstance(part, dict):
            stack.extend(part)
            stack.extend(part.values())
        elif isinstance(part, list | tuple):
            stack.extend(part)


def _require_depth(value: Any, max_depth: int) -> None:
    """Usage if `value` nests deeper than `max_depth`, as one that contains itself does."""
    level = _containers([value])
    for _ in range(max_depth):
        if not level:
            return
        level = [inner for part in level for inner in _containers(part.values() if isinstance(part, dict) else part)]
    if level:
        raise Usage("value nested too deeply for canonical JSON", "", f"at most {max_depth} levels", "more")


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list | tuple)]


def _require_no_surrogates(value: Any, where: str) -> None:
    for part in _parts(value):
        if isinstance(part, str) and _SURROGATE.search(part):
            _refuse("lone surrogate in a JSON string", where, "Unicode scalar values", ascii(part))
