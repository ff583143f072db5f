"""Layout features: how long a text is and how it is set, whatever it says. No language model.

Counts are the same for NFC and NFD (UAX #15) and in every locale; character classes are those of the Unicode database
of the Python that runs (unicodedata.unidata_version).

Glossary
--------
character  a code point after NFC that a reader sees: no combining mark (M), no format or control character (C);
           a space is one, a line end is none
word       a run of letters, marks and digits, joined by apostrophes and hyphens inside it: `don't`, `well-kept`
sentence   up to `.`, `!`, `?` or an ellipsis before a space or a line's end, or a CJK full stop anywhere, with a word
           in it; the rest of a line with a word in it is one too
emoji      as a reader counts: a flag, a keycap, a family or a hand with its skin tone is one (UTS #51)
"""

from __future__ import annotations

import re
import unicodedata

from engine.creative_field import Features, Field, require_text, rounded

FIELDS = (
    Field("characters", "number", "characters"),
    Field("words", "number", "words"),
    Field("sentences", "number", "sentences"),
    Field("mean_word_length", "number", "characters"),  # 0 without words
    Field("capitals_share", "number", "share of cased letters"),  # 0 without cased letters
    Field("exclamation_marks", "number", "marks"),
    Field("emoji", "number", "emoji"),
)

_WORD = re.compile(r"[^\W_]+(?:['’‑-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？]+")
# UTS #51 1.4.9, simplified: what is drawn in colour by default, or is asked to be by U+FE0F
_DEFAULT = (
    "\u231a\u231b\u23e9-\u23ec\u23f0\u23f3\u25fd\u25fe\u2614\u2615\u2648-\u2653\u267f\u2693\u26a1\u26aa\u26ab\u26bd\u26be"
    "\u26c4\u26c5\u26ce\u26d4\u26ea\u26f2\u26f3\u26f5\u26fa\u26fd\u2705\u270a\u270b\u2728\u274c\u274e\u2753-\u2755\u2757"
    "\u2795-\u2797\u27b0\u27bf\u2b1b\u2b1c\u2b50\u2b55\U0001f004\U0001f0cf\U0001f18e\U0001f191-\U0001f19a\U0001f201"
    "\U0001f21a\U0001f22f\U0001f232-\U0001f236\U0001f238-\U0001f23a\U0001f250\U0001f251\U0001f300-\U0001f320"
    "\U0001f32d-\U0001f335\U0001f337-\U0001f37c\U0001f37e-\U0001f393\U0001f3a0-\U0001f3ca\U0001f3cf-\U0001f3d3"
    "\U0001f3e0-\U0001f3f0\U0001f3f4\U0001f3f8-\U0001f43e\U0001f440\U0001f442-\U0001f4fc\U0001f4ff-\U0001f53d"
    "\U0001f54b-\U0001f54e\U0001f550-\U0001f567\U0001f57a\U0001f595\U0001f596\U0001f5a4\U0001f5fb-\U0001f64f"
    "\U0001f680-\U0001f6c5\U0001f6cc\U0001f6d0-\U0001f6d2\U0001f6d5-\U0001f6d7\U0001f6dc-\U0001f6df\U0001f6eb\U0001f6ec"
    "\U0001f6f4-\U0001f6fc\U0001f7e0-\U0001f7eb\U0001f7f0\U0001f90c-\U0001f93a\U0001f93c-\U0001f945\U0001f947-\U0001faff"
)
_TEXT = "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u2300-\u23ff\u24c2\u25aa-\u25fe"
_TEXT += "\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u3030\u303d\u3297\u3299\U0001f170-\U0001f1e5\U0001f300-\U0001f6ff"
_MODIFIER = "\U0001f3fb-\U0001f3ff"
_ONE = f"(?:[{_DEFAULT}]\ufe0f?|[{_TEXT}](?=[{_MODIFIER}])|[{_TEXT}]\ufe0f)[{_MODIFIER}]?"
_EMOJI = re.compile(
    f"[\U0001f1e6-\U0001f1ff]{{2}}|[0-9#*]\ufe0f?\u20e3|{_ONE}[\U000e0020-\U000e007f]*(?:\u200d(?:{_ONE}|[{_TEXT}]))*"
)


def extract(text: str) -> Features:
    """FIELDS of `text`. Raises CreativeError for one that is too long."""
    require_text(text)
    composed = unicodedata.normalize("NFC", text)
    kinds = [unicodedata.category(each) for each in composed]
    cased = [kind for kind in kinds if kind in ("Lu", "Lt", "Ll")]
    words = _words(composed)
    return {
        "characters": rounded(_visible(composed)),
        "words": rounded(len(words)),
        "sentences": rounded(sum(_sentences(line) for line in composed.splitlines())),
        "mean_word_length": rounded(sum(_visible(word) for word in words) / len(words) if words else 0.0),
        "capitals_share": rounded(sum(kind != "Ll" for kind in cased) / len(cased) if cased else 0.0),
        "exclamation_marks": rounded(unicodedata.normalize("NFKC", composed).count("!")),
        "emoji": rounded(len(_EMOJI.findall(composed))),
    }


def _words(text: str) -> list[str]:
    """Words, read without the marks that `\\w` does not know as part of one."""
    bare = "".join(each for each in text if unicodedata.category(each) not in ("Mn", "Mc", "Me", "Cf"))
    return _WORD.findall(bare)


def _visible(text: str) -> int:
    return sum(unicodedata.category(each)[0] not in "MC" for each in text)


def _sentences(line: str) -> int:
    return sum(bool(_words(part)) for part in _SENTENCE_END.split(line))
