"""The log's side of C2SP tlog-witness: a head goes out, a cosignature that verifies comes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from audit import addcheckpoint
from audit.addcheckpoint import SIZE_TYPE
from audit.cosignature import VKey, verify_lines
from audit.errors import Inconsistent, Malformed, Unavailable
from audit.note import parse_checkpoint, parse_note
from audit.post import Answer, post

MAX_ANSWER_BYTES = 2**14
_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\n")


def cosigned_by(
    url: str, witness: VKey, note: bytes, consistency: Callable[[int, int], Sequence[bytes]]
) -> tuple[bytes, ...]:
    """The witness's cosignature lines for the checkpoint `note`, from the service at `url`, verified.

    `consistency(size1, size2)` gives the proof that the witness asks for. Inconsistent: the witness has seen a larger
    head, or another tree: this log was rolled back, or is forked. BadSignature: what came back is not the witness's.
    Unavailable: no answer, or a refusal. Usage: no http(s) URL.
    """
    head = parse_checkpoint(parse_note(note).text)
    answer = _post(url, addcheckpoint.Request(0, (), note))  # a wrong guess is answered with the right size
    if answer.status == 409:
        size = _size(answer, url)
        if size > head.size:
            raise Inconsistent("the witness has seen a larger head of this log", url, f"at most {head.size}", size)
        proof = tuple(consistency(size, head.size)) if size else ()
        answer = _post(url, addcheckpoint.Request(size, proof, note))
        if answer.status in (409, 422):
            raise Inconsistent("the witness has seen another tree of this log", url, f"one of size {size}", answer.body)
    if answer.status != 200:
        raise Unavailable(f"the witness answers {answer.status}", url, "200", answer.body.decode("ascii", "replace"))
    return tuple(line.line.encode() for line in verify_lines(note, answer.body, witness, url))


def _size(answer: Answer, url: str) -> int:
    found = _SIZE.fullmatch(answer.body.decode("ascii", "replace"))
    if answer.type != SIZE_TYPE or found is None:
        raise Malformed("the witness's answer to an old size", url, f"a size, {SIZE_TYPE}", answer.body)
    return int(found[1])


def _post(url: str, request: addcheckpoint.Request) -> Answer:
    place = f"{url.rstrip('/')}/add-checkpoint"
    return post(place, request.to_bytes(), "text/plain; charset=utf-8", MAX_ANSWER_BYTES)
