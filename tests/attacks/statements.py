"""Attacks on what is said: one statement taken for another, and texts that two readers understand in two ways.

The log or the manifest is signed anew each time, as the key's holder can: so nothing else is wrong.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from audit import canonical, envelope, note
from audit.bag import PAYLOAD
from audit.bundle import CHECKPOINT, INFO
from audit.digest import sha256
from audit.envelope import PAYLOAD_TYPE
from audit.logsource import Logged
from audit.statement import core_bytes, parse_statement
from tests.attacks.attack import Attack, Good
from tests.attacks.files import flipped
from tests.attacks.good import LOG, STRANGER, cosignature
from tests.attacks.history import WITNESSED
from tests.attacks.insider import at, committed, enveloped, older, payload, relogged, replaced, rewritten, rows, spoken
from tests.taken import Taken

Make: TypeAlias = Callable[[Good], Taken]


def _core(row: Logged) -> bytes:
    return sha256(core_bytes(parse_statement(payload(row)))).encode()


def _another_run(log: list[Logged]) -> Iterable[Logged]:
    """The second run's seal names the first run's statement of the same stage."""
    return spoken(5, replaced(_core(log[4]), _core(log[1])))(log)


def _another_client(log: list[Logged]) -> Iterable[Logged]:
    """An envelope out of another client's log, whose key signed it."""
    return at(1, lambda row: committed(1, envelope.seal(payload(row), PAYLOAD_TYPE, STRANGER), row))(log)


def _another_payload_type(log: list[Logged]) -> Iterable[Logged]:
    return at(1, lambda row: committed(1, envelope.seal(payload(row), "application/json", LOG), row))(log)


def _edited(change: Callable[[Any], None]) -> Make:
    """The JSON of entry 1's envelope changed and written canonically."""

    def edit(raw: bytes) -> bytes:
        value = json.loads(raw)
        change(value)
        return canonical.encode(value)

    return older(enveloped(edit))


def _bad_signature(value: Any) -> None:
    signature = value["signatures"][0]
    signature["sig"] = base64.b64encode(flipped(base64.b64decode(signature["sig"]), 40)).decode()


def _another_key_id(value: Any) -> None:
    value["signatures"][0]["keyid"] = STRANGER.public.key_id


def _two_signatures(value: Any) -> None:
    value["signatures"].append(value["signatures"][0])


def _trailing_bits(value: Any) -> None:
    """The last digit of base64 before '==' holds four bits that are thrown away."""
    sig = value["signatures"][0]["sig"]
    value["signatures"][0]["sig"] = sig[:-3] + chr(ord(sig[-3]) + 1) + "=="


def _bad_head(good: Good) -> Taken:
    head = f"{PAYLOAD}log/heads/1"
    text, _, line = good.older.files[head].rpartition(b" ")
    raw = base64.b64encode(flipped(base64.b64decode(line), 30))
    return good.older.with_files({head: text + b" " + raw + b"\n"}).signed(LOG)


def _cosigned(line: bytes) -> Make:
    def make(good: Good) -> Taken:
        plain = note.only(good.older.files[PAYLOAD + CHECKPOINT], note.Verifier("noptik.example/client-a", LOG.public))
        return good.older.with_files({PAYLOAD + CHECKPOINT: plain + line}).signed(LOG)

    return make


def _forged(good: Good) -> Taken:
    head = good.older.files[PAYLOAD + CHECKPOINT]
    words = cosignature(head).split(b" ")
    raw = base64.b64encode(flipped(base64.b64decode(words[2]), 50))
    return _cosigned(b" ".join([*words[:2], raw]) + b"\n")(good)


def _strangers(good: Good) -> Taken:
    return _cosigned(cosignature(good.older.files[PAYLOAD + CHECKPOINT], STRANGER))(good)


def _redated(good: Good) -> Taken:
    """The witness's genuine line with a later time written over its own."""
    head = good.older.files[PAYLOAD + CHECKPOINT]
    words = cosignature(head).split(b" ")
    raw = base64.b64decode(words[2])
    later = (int.from_bytes(raw[4:12], "big") + 10**7).to_bytes(8, "big")
    return _cosigned(b" ".join([*words[:2], base64.b64encode(raw[:4] + later + raw[12:])]) + b"\n")(good)


def _info(old: bytes, new: bytes) -> Make:
    def make(good: Good) -> Taken:
        raw = replaced(old, new)(good.older.files[PAYLOAD + INFO])
        return good.older.with_files({PAYLOAD + INFO: raw}).signed(LOG)

    return make


def _another_origin(good: Good) -> Taken:
    return relogged(good.older, rows(good.older), origin="noptik.example/client-b")


def _leaf(old: bytes, new: bytes) -> Make:
    return older(at(1, lambda row: replace(row, leaf=replaced(old, new)(row.leaf))))


ELSEWHERE = "words that were signed for one thing, taken for another"
TWO = "two readers who understand one text in two ways"
OTHER = "a statement that nobody with the key made"
STATEMENTS = (
    Attack(
        "replayed_in_another_run",
        rewritten(_another_run),
        ("run sealed in entry 5", "artifacts differs"),
        "had a run name another run's statement of the same stage.",
        ELSEWHERE,
    ),
    Attack(
        "replayed_from_another_client",
        older(_another_client),
        ("envelope of entry 1", "signature does not verify"),
        "put another client's envelope into this client's log.",
        ELSEWHERE,
    ),
    Attack(
        "another_origin",
        _another_origin,
        ("another log than the root of trust names", "client-b"),
        "gave the log another client's name in all its heads.",
        ELSEWHERE,
    ),
    Attack(
        "another_forecast",
        _info(b'"forecast":"retail"', b'"forecast":"rental"'),
        ("folder of another bundle",),
        "gave the bundle another forecast's name.",
        ELSEWHERE,
    ),
    Attack(
        "another_kind",
        older(spoken(1, lambda raw: raw, kind="verdict")),
        ("entry 1", "statement logged as another kind"),
        "logged a stage's statement as a verdict.",
        ELSEWHERE,
    ),
    Attack(
        "another_payload_type",
        older(_another_payload_type),
        ("envelope of entry 1", "another payload type"),
        "sealed a statement as another type than its entry says.",
        ELSEWHERE,
    ),
    Attack(
        "another_predicate_type",
        older(spoken(1, replaced(b"https://slsa.dev/provenance/v1", b"urn:noptik:verdict:v1"))),
        ("statement of entry 1",),
        "called provenance a verdict.",
        ELSEWHERE,
    ),
    Attack(
        "another_entry_number",
        _leaf(b'"seq":1', b'"seq":2'),
        ("leaf of entry 1", "leaf of another entry"),
        "numbered an entry as its neighbour.",
        ELSEWHERE,
    ),
    Attack(
        "bad_envelope_signature",
        _edited(_bad_signature),
        ("envelope of entry 1", "signature does not verify"),
        "changed one bit of an envelope's signature and logged the envelope so.",
        OTHER,
    ),
    Attack(
        "another_key_id",
        _edited(_another_key_id),
        ("envelope of entry 1", "signature under another key's id"),
        "wrote another key's id beside a signature: the id is not signed.",
        "a reader that looks up the key by its id",
    ),
    Attack(
        "two_signatures",
        _edited(_two_signatures),
        ("envelope of entry 1", "other than one signature"),
        "signed an envelope twice.",
        TWO,
    ),
    Attack(
        "trailing_bits",
        _edited(_trailing_bits),
        ("envelope of entry 1", "not canonical base64"),
        "set bits that base64 throws away.",
        "a second text of one signature",
    ),
    Attack(
        "bad_head_signature",
        _bad_head,
        ("checkpoint of size 1", "signature does not verify"),
        "changed one bit of the signature of a head.",
        "a head the log never signed",
    ),
    Attack(
        "forged_cosignature",
        _forged,
        ("data/log/checkpoint", "signature does not verify"),
        "changed one bit of a witness's cosignature.",
        "a head no witness saw",
        WITNESSED,
    ),
    Attack(
        "redated_cosignature",
        _redated,
        ("data/log/checkpoint", "signature does not verify"),
        "wrote a later time into a witness's genuine cosignature.",
        "an old head that seems seen today",
        WITNESSED,
    ),
    Attack(
        "strangers_cosignature",
        _strangers,
        ("policy of witnesses not met", "client"),
        "cosigned under the witness's name with a key of its own.",
        "a head no witness saw",
        WITNESSED,
    ),
    Attack(
        "noncanonical_json",
        older(enveloped(replaced(b'"payload":', b'"payload": '))),
        ("envelope of entry 1", "not canonical"),
        "put a space into an envelope.",
        "a second text of one envelope",
    ),
    Attack(
        "duplicate_key",
        older(enveloped(replaced(b'{"payload":', b'{"payload":"e30=","payload":'))),
        ("envelope of entry 1", "duplicate key"),
        "wrote a key twice into an envelope.",
        TWO,
    ),
    Attack(
        "float_for_integer",
        older(spoken(1, replaced(b'"size":', b'"size":1.0,"sizf":'))),
        ("statement of entry 1", "a float where none may be"),
        "wrote a size as a float.",
        TWO,
    ),
    Attack(
        "large_integer",
        older(spoken(1, replaced(b'"size":', b'"size":9007199254740993,"sizf":'))),
        ("statement of entry 1", "integer too large"),
        "wrote a size that no double holds.",
        TWO,
    ),
    Attack(
        "escaped_letter",
        older(spoken(1, replaced(b'"retail"', b'"\\u0072etail"'))),
        ("statement of entry 1", "not canonical"),
        "wrote a letter as an escape.",
        "a second text of one statement",
    ),
    Attack(
        "lone_surrogate",
        older(spoken(1, replaced(b':"h"', b':"\\ud800"'))),
        ("statement of entry 1",),
        "wrote half a character.",
        TWO,
    ),
    Attack(
        "decomposed_name",
        older(spoken(1, replaced(b"fit/result.json", "fit/re\u0301sult.json".encode()))),
        ("statement of entry 1", "subject"),
        "wrote an artifact's name in decomposed Unicode (NFD), which looks the same composed (NFC).",
        "one name for two files",
    ),
    Attack(
        "unknown_field",
        _info(b'"light":false', b'"light":false,"lightly":true'),
        ("data/bundle.json", "lightly"),
        "added a field that this version does not know.",
        "words that one reader passes over",
    ),
    Attack(
        "record_with_a_float",
        _leaf(b'"seq":1', b'"seq":1.0'),
        ("leaf of entry 1", "a float where none may be"),
        "wrote an entry's number as a float.",
        TWO,
    ),
)
