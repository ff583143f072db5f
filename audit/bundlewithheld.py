"""What the words of --withhold leave out of a bundle.

Words
-----
register, stage, verdict, key, admission   the entries of this kind, with all that only they vouch for
a stage by its name                        its statement, with all that only it vouches for
source                                     the recorded source and its listing
data                                       the source's files below data/
creatives    those below data/creatives/ but the recordings, and the rows of features: features/<extractor>.parquet
recordings   those named recordings*.jsonl below data/creatives/, and the artifact features/recordings.jsonl

Of an entry a salted digest stays, which nobody can test a guess against. Of a file its name and its plain SHA-256
stay, because the sealed listing and the seal hold them: a guess of the whole file can be tested, as VERIFY.md says.

The rows of features have no text, and yet go with `creatives`: they name each creative, where and when it ran, and
the digest of its recording, against which a guess of that one text could be tested; and from an embedding a short
text can nearly be read again (Morris et al., 2023, 10.18653/v1/2023.emnlp-main.765). The table of covariates,
features/table.parquet, is sums by period and location, is what the model saw, and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from audit.trustedentry import TrustedEntry

WITHHOLDABLE: Final = ("register", "stage", "verdict", "key", "admission")  # kinds; names of stages beside them
SOURCE_KINDS: Final = ("source", "data")  # not entries: the recorded source tree, or the inputs in it
FEATURE_KINDS: Final = ("creatives", "recordings")  # not entries: some of the inputs, and artifacts made of them
BY_DIGEST: Final = {  # words whose source files stay listed, and what those are
    "data": "inputs below source/data/",
    "creatives": "creatives below source/data/creatives/",
    "recordings": "recordings below source/data/creatives/",
}
DATA: Final = "data/"
CREATIVES: Final = "data/creatives/"
RECORDINGS: Final = rf"{CREATIVES}(.*/)?recordings[^/]*\.jsonl"  # POSIX ERE too: VERIFY.md has it
_RECORDINGS = re.compile(RECORDINGS)
_FEATURES = re.compile(r"artifacts/[^/]+/features/([^/]+)")


def hides(withheld: Iterable[str], entry: TrustedEntry) -> bool:
    """Whether the words name this entry's kind or its stage."""
    stage = entry.disclosed.about.stage if entry.disclosed and entry.record.kind == "stage" else ""
    return not {entry.record.kind, stage}.isdisjoint(withheld)


def source_words(name: str) -> frozenset[str]:
    """The words each of which leaves this file of the source out."""
    words = {"source"}
    if name.startswith(DATA):
        words.add("data")
    if name.startswith(CREATIVES):
        words.add("recordings" if _RECORDINGS.fullmatch(name) else "creatives")
    return frozenset(words)


def artifact_words(name: str) -> frozenset[str]:
    """The words each of which leaves the bytes of the artifact of this name out; its digest stays listed."""
    match = _FEATURES.fullmatch(name)
    file = match[1] if match else ""
    if file == "recordings.jsonl":
        return frozenset({"recordings"})
    return frozenset({"creatives"} if file.endswith(".parquet") and file != "table.parquet" else ())


def hides_source(withheld: Iterable[str], name: str) -> bool:
    """Whether the words leave this file of the source out."""
    return not source_words(name).isdisjoint(withheld)


def hides_artifact(withheld: Iterable[str], name: str) -> bool:
    """Whether the words leave the bytes of the artifact of this name out."""
    return not artifact_words(name).isdisjoint(withheld)


def lacking(withheld: Iterable[str], names: Iterable[str]) -> list[str]:
    """Those of the words that leave out some of these files of the source, sorted."""
    return sorted({word for name in names for word in source_words(name)}.intersection(withheld))


def quotes(withheld: Iterable[str]) -> bool:
    """Whether creatives are withheld, but not the recordings, whose requests quote their texts word for word."""
    return "creatives" in withheld and "recordings" not in withheld
