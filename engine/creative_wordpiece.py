"""Pieces of words, as the uncased BERT models read a text. Devlin et al. (2019), doi:10.18653/v1/N19-1423.

First words: control characters go, spaces of every kind part, CJK ideographs stand alone, letters are lower case and
without accents (NFD), punctuation stands alone. Then pieces: the longest piece of the vocabulary that the rest of the
word begins with, again and again; a piece inside a word is written with `##`. A word that is not made of pieces, or has
more than MAX_WORD characters, is unknown.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

from engine.creative_errors import EmbeddingError

MAX_WORD = 100  # characters
BEGIN, END, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
# code points of CJK ideographs, as BERT's tokeniser lists them
_IDEOGRAPHS = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F)),
    *((0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)

Vocabulary = Mapping[str, int]


def vocabulary(raw: bytes) -> Vocabulary:
    """Pieces and their numbers: one a line, from 0. Raises EmbeddingError without the three special ones."""
    try:
        pieces = raw.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise EmbeddingError(f"vocabulary: expected UTF-8, found byte {error.start}") from error
    known = {piece: number for number, piece in enumerate(pieces)}
    for special in (BEGIN, END, UNKNOWN):
        if special not in known:
            raise EmbeddingError(f"vocabulary: expected {special}, found {len(known)} other pieces")
    return known


def numbers(text: str, known: Vocabulary, most: int) -> list[int]:
    """Numbers of the pieces of `text` between BEGIN and END, at most `most` >= 2 in all: what is beyond is cut."""
    pieces = [piece for word in words(text) for piece in _pieces(word, known)]
    return [known[BEGIN], *(known[piece] for piece in pieces[: most - 2]), known[END]]


def words(text: str) -> list[str]:
    """The words and punctuation marks of `text`, lower case and without accents."""
    clean = "".join(_cleaned(text))
    bare = unicodedata.normalize("NFD", clean)
    lower = "".join(each.lower() for each in bare if unicodedata.category(each) != "Mn")  # each alone: no final sigma
    return "".join(f" {each} " if _is_punctuation(each) else each for each in lower).split()


def _cleaned(text: str) -> Iterator[str]:
    for each in text:
        kind = unicodedata.category(each)
        if each in "\t\n\r" or kind == "Zs":
            yield " "
        elif kind not in ("Cc", "Cf", "Co") and ord(each) != 0xFFFD:
            yield f" {each} " if any(low <= ord(each) <= high for low, high in _IDEOGRAPHS) else each


def _is_punctuation(each: str) -> bool:
    """Punctuation (P), and every other ASCII sign, as BERT counts `$` and `+` too."""
    ascii_sign = each.isascii() and each.isprintable() and not each.isalnum() and each != " "
    return ascii_sign or unicodedata.category(each)[0] == "P"


def _pieces(word: str, known: Vocabulary) -> list[str]:
    found: list[str] = []
    at = 0
    if len(word) > MAX_WORD:
        return [UNKNOWN]
    while at < len(word):
        prefix = "##" if at else ""
        end = next((n for n in range(len(word), at, -1) if prefix + word[at:n] in known), 0)
        if not end:
            return [UNKNOWN]
        found.append(prefix + word[at:end])
        at = end
    return found
