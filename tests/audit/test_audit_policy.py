"""Laws of witness policies: which cosignatures are enough, and how a policy file may be written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.cosignature import VKey, cosign
from audit.errors import BadSignature, Malformed
from audit.note import Checkpoint, NoteSignature, parse_note, sign_checkpoint, with_lines
from audit.policy import Policy, check, parse_policy
from audit.signing import NOTE_ED25519, SigningKey

LOG, X1, X2, X3, Y1 = (SigningKey.from_seed(bytes([number]) * 32) for number in range(1, 6))
KEYS = {"X1": X1, "X2": X2, "X3": X3, "Y1": Y1}
ORIGIN, TIME = "client.example/log", 1_700_000_000
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 3, b"r" * 32), LOG)
WITNESSES = "".join(f"witness {name} {VKey.cosigner(f'w.example/{name}', key.public)}\n" for name, key in KEYS.items())
LOG_LINE = f"log {VKey(ORIGIN, LOG.public, NOTE_ED25519)}\n"
TWO_LEVELS = LOG_LINE + WITNESSES + "group X 2 X1 X2 X3\ngroup Y any Y1\ngroup all all X Y\nquorum all\n"


def policy(text: str) -> Policy:
    return parse_policy(text.encode(), "policy")


def cosigned(**times: int) -> bytes:
    text = parse_note(NOTE).text
    return with_lines(NOTE, [cosign(text, f"w.example/{n}", KEYS[n], TIME + t).line.encode() for n, t in times.items()])


@pytest.mark.parametrize(
    ("names", "met"),
    [
        ("X1 X2 Y1", True),
        ("X1 X2 X3 Y1", True),
        ("X2 X3 Y1", True),
        ("X1 Y1", False),
        ("X1 X2 X3", False),
        ("Y1", False),
        ("", False),
    ],
)
def test_a_quorum_of_groups_is_counted_level_by_level(names: str, met: bool) -> None:
    note = cosigned(**dict.fromkeys(names.split(), 0))
    if met:
        assert {found.witness.name for found in check(policy(TWO_LEVELS), note)} == {
            f"w.example/{n}" for n in names.split()
        }
    else:
        with pytest.raises(BadSignature, match="not met"):
            check(policy(TWO_LEVELS), note)


def test_a_policy_that_is_not_met_names_who_is_missing() -> None:
    with pytest.raises(BadSignature, match="missing: X2, X3, Y1"):
        check(policy(TWO_LEVELS), cosigned(X1=0))


def test_a_frozen_head_is_refused_when_its_cosignatures_are_too_old() -> None:
    note = cosigned(X1=0, X2=50, X3=100, Y1=100)
    assert len(check(policy(TWO_LEVELS), note, not_before=TIME + 50)) == 3
    with pytest.raises(BadSignature, match=r"X1 \(too old\), X2 \(too old\)"):
        check(policy(TWO_LEVELS), note, not_before=TIME + 51)
    with pytest.raises(BadSignature, match="too old"):
        check(policy(TWO_LEVELS), note, not_before=TIME + 101)


def test_one_witness_cannot_stand_for_two() -> None:
    text = parse_note(NOTE).text
    lines = [cosign(text, "w.example/X1", X1, TIME + delay).line.encode() for delay in range(3)]
    lines += [cosign(text, "w.example/X2", X1, TIME).line.encode()]
    with pytest.raises(BadSignature, match="missing: X2, X3"):
        check(policy(WITNESSES + "group X 2 X1 X2 X3\nquorum X\n"), with_lines(NOTE, lines))


def test_a_known_witness_s_bad_line_is_refused_even_if_the_quorum_is_met() -> None:
    key_id = VKey.cosigner("w.example/X3", X3.public).key_id
    bad = NoteSignature("w.example/X3", key_id, bytes(72)).line.encode()
    with pytest.raises(BadSignature, match="does not verify"):
        check(policy(TWO_LEVELS), with_lines(cosigned(X1=0, X2=0, Y1=0), [bad]))


def test_only_the_policy_s_logs_may_sign() -> None:
    other = VKey(ORIGIN, X1.public, NOTE_ED25519)
    with pytest.raises(BadSignature, match="not signed by a log"):
        check(policy(f"log {other}\nquorum none\n"), NOTE)
    assert check(policy(f"log {other}\n{LOG_LINE}quorum none\n"), NOTE) == ()
    assert check(policy("quorum none\n"), NOTE) == ()


def test_blanks_comments_and_addresses_are_allowed() -> None:
    vkey = VKey.cosigner("w", X1.public)
    text = f"# c\n\n \t \n\twitness  a\t{vkey}  https://w.example/ \n  # \u00e4\nquorum a\n"
    assert policy(text).witnesses == {"a": vkey}


LINES = [
    ("", "without a quorum"),
    ("quorum none", "cut short"),
    ("quorum none\nquorum none\n", "line 2: a second quorum"),
    ("quorum a\n", "line 1: quorum of an unknown name"),
    ("group g any\nquorum g\n", "line 1: threshold of a group"),
    ("group g any a\nquorum g\n", "line 1: group of an unknown name"),
    ("group g any g\nquorum g\n", "line 1: group of an unknown name"),
    ("W group none any X1\nquorum none\n", "line 5: a name is defined twice"),
    ("W group g any none\nquorum g\n", "line 5: group of an unknown name"),
    ("W group X1 any X2\nquorum X1\n", "line 5: a name is defined twice"),
    ("W group g 2 X1 X1\nquorum g\n", "line 5: a name is a member twice"),
    ("W group g any X1\ngroup h any X1\nquorum h\n", "line 6: a name is a member twice"),
    ("W group g 0 X1\nquorum g\n", "line 5: threshold"),
    ("W group g 2 X1\nquorum g\n", "line 5: threshold"),
    ("W group g +1 X1\nquorum g\n", "line 5: threshold"),
    ("W group g 01 X1\nquorum g\n", "line 5: threshold"),
    ("W group g \u0661 X1\nquorum g\n", "line 5: threshold"),
    ("W group g 1_0 X1\nquorum g\n", "line 5: threshold"),
    ("W W quorum X1\n", "line 5: a name is defined twice"),
    ("witness a b\nquorum a\n", "line 1: not an Ed25519 vkey"),
    ("witness a\nquorum a\n", "line 1: not a line of a policy"),
    ("quorum\n", "line 1: not a line of a policy"),
    ("quorum none none\n", "line 1: not a line of a policy"),
    ("Quorum none\n", "line 1: not a line of a policy"),
    ("quorum none\r\n", "line 1: control character"),
    ("quorum\x0bnone\n", "line 1: control character"),
    ("quorum none\n\0", "cut short"),
]


@pytest.mark.parametrize(("text", "match"), LINES, ids=range(len(LINES)))
def test_a_bad_policy_is_refused_by_line(text: str, match: str) -> None:
    with pytest.raises(Malformed, match=match):
        policy(text.replace("W ", WITNESSES))


def test_a_key_is_in_a_policy_once_and_of_its_type() -> None:
    same = VKey.cosigner("other", X1.public)
    with pytest.raises(Malformed, match="a key occurs twice"):
        policy(f"{WITNESSES}witness Z {same}\nquorum Z\n")
    with pytest.raises(Malformed, match="another type"):
        policy(f"witness Z {VKey('z', X1.public, NOTE_ED25519)}\nquorum Z\n")
    with pytest.raises(Malformed, match="another type"):
        policy(f"log {same}\nquorum none\n")
    with pytest.raises(Malformed, match="a key occurs twice"):
        policy(f"{LOG_LINE}{LOG_LINE}quorum none\n")


def test_policies_are_bounded() -> None:
    with pytest.raises(Malformed, match="too long"):
        parse_policy(b"#" * 2**17)
    keys = [SigningKey.from_seed(number.to_bytes(32, "big")).public for number in range(101)]
    lines = "".join(f"witness w{i} {VKey.cosigner('w', key)}\n" for i, key in enumerate(keys))
    with pytest.raises(Malformed, match="too many names"):
        policy(lines + "quorum none\n")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["witness", "group", "quorum", "log", "X1", "X2", "none", "any", "2", "\n", "#", "\udc80"])
    )
)
def test_words_in_any_order_are_a_policy_or_malformed(words: list[str]) -> None:
    raw = (WITNESSES + " ".join(words) + "\n").encode("utf-8", "surrogateescape")
    try:
        found = parse_policy(raw)
    except Malformed:
        return
    assert found.quorum == "none" or found.met(frozenset(KEYS)) or found.missing(frozenset(KEYS))
