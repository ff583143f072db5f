"""What VERIFY.md says of files that were withheld, and how its commands pass over them."""

from __future__ import annotations

from collections.abc import Sequence

from audit.bundle import BundleInfo
from audit.bundlewithheld import BY_DIGEST, CREATIVES, RECORDINGS, quotes


def check(listing: str, kept: str) -> str:
    """The command that checks the files of a listing; those lines alone that the command `kept` prints, if not ''."""
    return f"{kept} {listing} | sha256sum -c --strict --quiet" if kept else f"sha256sum -c --strict --quiet {listing}"


def without(artifacts: Sequence[str]) -> str:
    """The command that prints a listing without the files of these artifacts, in whose names only dots are special."""
    if not artifacts:
        return ""
    names = "|".join(name.replace(".", "\\.") for name in artifacts)
    return f"grep -vE '  ({names})(/.*)?$'"


def source_filter(facts: BundleInfo) -> str:
    """The command that prints the source's listing without what was withheld (`bundlewithheld.source_words`)."""
    words = set(facts.withheld)
    if "data" in words:
        return "grep -v '  data/'"
    if {"creatives", "recordings"} <= words:
        return f"grep -v '  {CREATIVES}'"
    if "recordings" in words:
        return f"grep -vE '  {RECORDINGS}$'"
    if "creatives" in words:
        return f"sed -E -e '\\,  {RECORDINGS}$,b' -e '\\,  {CREATIVES},d'"
    return ""


def left(facts: BundleInfo) -> str:
    """What is left of files that were withheld by words that keep them listed; '' without such words."""
    words = BY_DIGEST.keys() & set(facts.withheld)
    if not words:
        return ""
    parts = [
        """\
## What is left of a file that was withheld

Its name and its SHA-256: of a file of the source in `data/source.sha256`, unless that was withheld too; of an
artifact in `data/expected.sha256` and, with its size, in the seal. Statements of stages name the same digests, and
those of folders and tables made of such files. No file can be computed from its digest. But these digests have no
salt, unlike those by which the log commits to its entries: whoever guesses a file whole, every byte of it, sees that
the guess is right, and whoever has a copy recognises it. So a table or a file of many texts stays hidden; a picture
that was published elsewhere does not, and neither does a file that says little more than one short text or number.

What was computed from it, and was not withheld by a word of its own, is here: tables of later stages, forecast,
report. So are the frozen prompts, which quote the examples that they were made from.
"""
    ]
    if "creatives" in words:
        parts.append("""\
With the creatives go the rows of features, `features/<extractor>.parquet`. They have no text, but they name each
creative and when it ran; they give the digest of its one recording, against which a guess of its text could be
tested; and from an embedding a short text can nearly be read again. The covariates by period and location, in
`features/table.parquet`, are what the model saw, and stay.
""")
    if quotes(facts.withheld):
        parts.append("""\
Recordings quote the creatives word for word, and were not withheld by that word: where the run has recordings, they
may be here.
""")
    return "\n".join(parts)
