"""Creatives and recordings withheld from a bundle: gone, said to be gone, and the rest is verified as before."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import pytest
from browser import Browser, browser
from bundle_case import (
    ANCHOR,
    CREATIVES,
    FEATURES,
    ROWS,
    Parts,
    audit,
    case_with_features,
    parts,
    planted,
    verify,
    write,
)
from hypothesis import given
from hypothesis import strategies as st
from ledger_case import FORECAST, KEY, Case, sealed_project
from test_audit_bundle_others import followed, unpacked
from test_audit_page import FILE, verdict

from audit.bundle import BundleInfo, info_bytes, parse_info
from audit.bundleguideleft import source_filter
from audit.bundlereplay import replay_bundle
from audit.bundlewithheld import CREATIVES as BELOW
from audit.bundlewithheld import artifact_words, hides_artifact, hides_source, source_words
from audit.digest import digest_path, sha256
from audit.errors import DigestMismatch, Inconsistent, Tampered, Unavailable, Usage
from audit.source import listing

HERE = f"artifacts/{FORECAST}/features"
WORDS = ("creatives", "data", "features", "recordings", "register", "source")
SUBSETS = [subset for count in range(len(WORDS) + 1) for subset in combinations(WORDS, count)]
QUOTED = "planted headline"  # in the creatives, and in the recordings of what was asked about them


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_with_features(tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(FILE)
        yield opened


def expected_gone(words: tuple[str, ...], light: bool) -> tuple[set[str], set[str]]:
    """Which inputs below data/creatives/ and which artifacts of `features` a bundle lacks, spelt out."""
    recordings = {"geo/recordings.jsonl", "geo/recordings-2.jsonl", "recordings.jsonl"}
    inputs, artifacts = set(), set()
    if {"source", "data"} & set(words):
        inputs |= set(CREATIVES)
    if "creatives" in words:
        inputs |= set(CREATIVES) - recordings
        artifacts |= set(ROWS)
    if "recordings" in words:
        inputs |= recordings
        artifacts |= {"recordings.jsonl"}
    if light or "features" in words:
        artifacts |= set(FEATURES)
    return inputs, artifacts


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("words", SUBSETS, ids="+".join)
def test_whatever_is_withheld_nothing_of_it_is_inside_and_the_rest_verifies(
    case: Case, tmp_path: Path, words: tuple[str, ...], light: bool
) -> None:
    path = write(case, tmp_path / "b.tar", light=light, withheld=words)
    report, raw, files = verify(path), path.read_bytes(), parts(path).files
    inputs, artifacts = expected_gone(words, light)
    for name in CREATIVES:
        assert (f"data/source/data/creatives/{name}" in files) == (name not in inputs)
        assert (planted(name).encode() in raw) == (
            name not in inputs or (name == "geo/recordings.jsonl" and "recordings.jsonl" not in artifacts)
        )
    for name in FEATURES:
        assert (f"data/{HERE}/{name}" in files) == (name not in artifacts)
        assert (f"planted in {Path(name).stem}\0".encode() in raw) == (name not in artifacts)  # ends the member
    quoting = {"geo/creatives.jsonl", "geo/recordings.jsonl"} <= inputs and "recordings.jsonl" in artifacts
    assert (QUOTED.encode() in raw) == (not quoting)
    said = [line.split()[1].rstrip(":") for line in report.unchecked if line.startswith(f"artifact {HERE}")]
    unseen = FEATURES if "features" in words else artifacts if not light else expected_gone(words, light=False)[1]
    assert sorted(said) == sorted(f"{HERE}/{name}" for name in unseen)


@pytest.mark.parametrize("words", [("creatives",), ("recordings",), ("creatives", "recordings")], ids="+".join)
def test_what_is_withheld_is_listed_with_its_digest_and_the_report_says_what_was_not_checked(
    case: Case, tmp_path: Path, words: tuple[str, ...]
) -> None:
    path = write(case, tmp_path / "b.tar", withheld=words)
    report, files = verify(path), parts(path).files
    inputs, artifacts = expected_gone(words, light=False)
    for name in inputs:
        raw = (case.root / "data/creatives" / name).read_bytes()
        assert f"{sha256(raw)}  data/creatives/{name}\n".encode() in files["data/source.sha256"]
    sealed = {}
    for name in artifacts:
        sealed[f"{HERE}/{name}"] = digest_path(case.path(f"features/{name}")).sha256
        assert f"{sealed[f'{HERE}/{name}']}  {HERE}/{name}\n".encode() in files["data/expected.sha256"]
    why = "withheld, their digests are listed; the run cannot be replayed"
    assert report.unchecked == (
        *(f"{word} below source/data/creatives/: {why}" for word in words),
        *(f"artifact {name}: withheld; its sealed digest is {sealed[name]}" for name in sorted(sealed)),
    )
    assert report.withheld == {}  # no envelope: every statement is here


def test_the_command_says_what_it_left_out_and_that_recordings_still_quote(case: Case, tmp_path: Path) -> None:
    home = ("--home", case.home.root)
    alone = audit("bundle", FORECAST, "-o", "a.tar", "--withhold", "creatives", *home, cwd=tmp_path)
    assert (alone.returncode, alone.stderr) == (0, "")
    assert "withheld: creatives\nnote: recordings quote the creatives" in alone.stdout
    words = ("--withhold", "recordings", "--withhold", "creatives")
    both = audit("bundle", FORECAST, "-o", "b.tar", *words, *home, cwd=tmp_path)
    assert "withheld: creatives, recordings\n" in both.stdout
    assert "note:" not in both.stdout
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    done = audit("verify", "b.tar", "--root", "root.pem", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not checked: creatives below source/data/creatives/" in done.stdout
    assert f"not checked: artifact {HERE}/recordings.jsonl: withheld" in done.stdout
    assert "verified: log" in done.stdout


def test_a_word_that_withholds_nothing_of_this_run_is_refused(tmp_path: Path) -> None:
    """Whoever asks for it believes that there is something to hide: it may lie elsewhere."""
    without, _ = sealed_project(tmp_path / "case")
    for word in ("creatives", "recordings"):
        with pytest.raises(Usage, match="nothing of this name to withhold"):
            write(without, tmp_path / "b.tar", withheld=(word,))
    assert not (tmp_path / "b.tar").exists()


def test_with_everything_inside_it_replays_to_identical(case: Case, tmp_path: Path) -> None:
    found = _replayed(write(case, tmp_path / "b.tar"), tmp_path / "work")
    assert found == ("identical", len(FEATURES) + 3)


def _replayed(bundle: Path, workdir: Path) -> tuple[str, int]:
    workdir.mkdir()
    _, found = replay_bundle(bundle, ANCHOR, workdir, lambda: "2024-02-03T04:05:06Z", sys.executable, (sys.executable,))
    return found.verdict.verdict, len(found.verdict.details)


@pytest.mark.parametrize("words", [("creatives",), ("recordings",), ("creatives", "recordings")], ids="+".join)
def test_without_them_a_replay_is_unavailable_and_not_tampered(
    case: Case, tmp_path: Path, words: tuple[str, ...]
) -> None:
    path = write(case, tmp_path / "b.tar", withheld=words)
    with pytest.raises(Unavailable, match=f"cannot be replayed: withheld.*{', '.join(words)}"):
        _replayed(path, tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []  # before any environment was built
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    options = ("--root", "root.pem", "--home", "client")
    done = audit("replay", "b.tar", *options, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert re.search(rf"Unavailable: .*withheld.*{', '.join(words)}", done.stderr)


Cheat = Callable[[Parts], str]


def lacks(name: str) -> Cheat:
    def change(bundle: Parts) -> str:
        del bundle.files[name]
        return name

    return change


def holds(name: str, raw: bytes) -> Cheat:
    def change(bundle: Parts) -> str:
        bundle.files[name] = raw
        return name

    return change


def says(*words: str) -> Cheat:
    """The bundle says afterwards that just these were withheld."""

    def change(bundle: Parts) -> str:
        info = parse_info(bundle.files["data/bundle.json"])
        bundle.files["data/bundle.json"] = info_bytes(info.model_copy(update={"withheld": words}))
        return f"data/{HERE}/"  # artifacts are looked at first

    return change


def lists(name: str, line: str) -> Cheat:
    """Another digest in a listing, for a file that is not there to contradict it."""

    def change(bundle: Parts) -> str:
        old = next(one for one in bundle.files[name].decode().splitlines() if one.endswith(f"  {line}"))
        bundle.files[name] = bundle.files[name].replace(old.encode(), f"{'0' * 64}  {line}".encode())
        return name

    return change


CHEATS = [
    # what is not said to be withheld must be here
    ((), lacks(f"data/{HERE}/offer.parquet"), Inconsistent),
    ((), lacks(f"data/{HERE}/recordings.jsonl"), Inconsistent),
    ((), lacks("data/source/data/creatives/geo/creatives.jsonl"), Inconsistent),
    (("creatives",), lacks(f"data/{HERE}/recordings.jsonl"), Inconsistent),
    (("creatives",), lacks("data/source/data/creatives/geo/recordings.jsonl"), Inconsistent),
    (("recordings",), lacks(f"data/{HERE}/lexicon.parquet"), Inconsistent),
    (("recordings",), lacks("data/source/data/creatives/geo/images/a.png"), Inconsistent),
    # neither word excuses the table of covariates, the record, or anything else
    (("creatives", "recordings"), lacks(f"data/{HERE}/table.parquet"), Inconsistent),
    (("creatives", "recordings"), lacks(f"data/{HERE}/record.json"), Inconsistent),
    (("creatives", "recordings"), lacks("data/source/data/input.csv"), Inconsistent),
    (("creatives", "recordings"), lacks(f"data/{HERE.replace('features', 'fit')}/result.json"), Inconsistent),
    # the sealed digests bind also what is withheld
    (("creatives",), lists("data/expected.sha256", f"{HERE}/offer.parquet"), DigestMismatch),
    (("recordings",), lists("data/expected.sha256", f"{HERE}/recordings.jsonl"), DigestMismatch),
    (("creatives",), lists("data/source.sha256", "data/creatives/geo/creatives.jsonl"), DigestMismatch),
    # what is here in spite of the word, as in no bundle of ours, is nobody's
    (("creatives",), holds(f"data/{HERE}/offer.parquet", b"planted in offer"), Inconsistent),
    (("recordings",), holds("data/source/data/creatives/recordings.jsonl", b"anything"), Inconsistent),
    # words changed afterwards
    (("creatives", "recordings"), says("creatives"), Inconsistent),
    (("creatives",), says(), Inconsistent),
    ((), says("recordings"), Inconsistent),
]


@pytest.mark.parametrize(("words", "cheat", "error"), CHEATS)
def test_the_logs_own_key_cannot_leave_out_or_slip_in_what_the_words_do_not_say(
    case: Case, page: Browser, tmp_path: Path, words: tuple[str, ...], cheat: Cheat, error: type[Tampered]
) -> None:
    bundle = parts(write(case, tmp_path / "good.tar", withheld=words))
    where = cheat(bundle)
    bad = bundle.signed_again().to(tmp_path / "bad.tar")
    with pytest.raises(error, match=re.escape(where)):
        verify(bad)
    assert verdict(page, bad)[0] == "refused"


SOME = [("creatives",), ("recordings",), ("creatives", "recordings"), ("creatives", "data"), ("features", "recordings")]


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("words", SOME, ids="+".join)
def test_the_page_verifies_it_and_names_the_words(
    case: Case, page: Browser, tmp_path: Path, words: tuple[str, ...], light: bool
) -> None:
    said, text = verdict(page, write(case, tmp_path / "b.tar", light=light, withheld=words))
    assert (said, [word for word in words if word not in text]) == ("verified", [])
    count = 0 if "features" in words else len(expected_gone(words, light=False)[1])
    facts = page.evaluate("$('facts').innerText")
    assert (f"of {count} the digests only" in facts) == (count > 0 and not light)


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("words", SOME, ids="+".join)
def test_a_stranger_who_follows_verify_md_confirms_every_step_of_it(
    case: Case, tmp_path: Path, words: tuple[str, ...], light: bool
) -> None:
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    bag = unpacked(write(case, tmp_path / "b.tar", light=light, withheld=words), tmp_path / "good")
    assert followed(bag, tmp_path / "root.pem") == [f"{number} ok" for number in range(1, 8)]


@pytest.mark.parametrize(
    ("words", "name", "step"),
    [
        (("creatives",), f"data/{HERE}/recordings.jsonl", 6),
        (("recordings",), f"data/{HERE}/offer.parquet", 6),
        (("creatives", "recordings"), f"data/{HERE}/table.parquet", 6),
        (("creatives",), "data/source/data/creatives/geo/recordings-2.jsonl", 7),
        (("recordings",), "data/source/data/creatives/geo/old_recordings.jsonl", 7),
        (("recordings",), "data/source/data/creatives/geo/recordings/notes.md", 7),
        (("creatives", "recordings"), "data/source/data/input.csv", 7),
    ],
)
def test_verify_md_still_stops_at_a_file_that_the_words_do_not_excuse(
    case: Case, tmp_path: Path, words: tuple[str, ...], name: str, step: int
) -> None:
    (tmp_path / "root.pem").write_bytes(KEY.public.to_pem())
    for number, change in enumerate((lacks(name), holds(name, b"other"))):
        bundle = parts(write(case, tmp_path / f"{number}.tar", withheld=words))
        change(bundle)
        bag = bundle.signed_again().on_disk(tmp_path / f"bad{number}")
        assert followed(bag, tmp_path / "root.pem") == [f"{done} ok" for done in range(1, step)]


def test_the_guide_tells_what_is_left_of_a_withheld_file_and_only_where_there_is_one(
    case: Case, tmp_path: Path
) -> None:
    def guide(*words: str) -> str:
        return parts(write(case, tmp_path / f"{'+'.join(words)}.tar", withheld=words)).files["VERIFY.md"].decode()

    assert "What is left of" not in guide()
    alone, both, recordings = guide("creatives"), guide("creatives", "recordings"), guide("recordings")
    for text in (guide("data"), alone, both, recordings):
        assert "whoever guesses a file whole" in text
    assert "Recordings quote the creatives" in alone
    assert "Recordings quote the creatives" not in both + recordings
    assert "`features/<extractor>.parquet`" in both
    assert "`features/<extractor>.parquet`" not in recordings


PARTS = st.sampled_from(["data", "creatives", "recordings", "recordings.jsonl", "recordings-1.jsonl", "a.jsonl", "x"])
NAMES = st.lists(
    st.one_of(PARTS, st.text("abcdrs./_-", min_size=1, max_size=8).filter(lambda text: text not in (".", ".."))),
    min_size=1,
    max_size=5,
).map("/".join)
CLEAN = NAMES.map(lambda name: "/".join(part for part in name.split("/") if part not in ("", ".", ".."))).filter(bool)
PATHS = st.lists(st.one_of(CLEAN, CLEAN.map(f"{BELOW}{{}}".format)), min_size=1, max_size=12, unique=True)


@given(PATHS, st.sets(st.sampled_from(["creatives", "recordings", "data"])))
def test_verify_md_checks_just_the_source_files_that_the_words_do_not_leave_out(
    names: list[str], words: set[str]
) -> None:
    facts = BundleInfo.model_construct(withheld=tuple(sorted(words)))
    lines = listing((name, "0" * 64) for name in names)
    command = source_filter(facts) or "cat"
    done = subprocess.run(["sh", "-c", command], input=lines, capture_output=True, check=False)
    assert done.stdout == listing((name, "0" * 64) for name in names if not hides_source(words, name))
    assert done.stderr == b""


@given(PATHS)
def test_every_file_below_creatives_goes_with_just_one_of_the_two_words(names: list[str]) -> None:
    for name in names:
        both = source_words(name) & {"creatives", "recordings"}
        assert len(both) == name.startswith(BELOW)
        assert ("data" in source_words(name)) == name.startswith("data/")
        recording = bool(re.match(r"recordings[^/]*\.jsonl$", name.rpartition("/")[2]))
        assert (both == {"recordings"}) == (recording and name.startswith(BELOW))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{HERE}/offer.parquet", {"creatives"}),
        (f"{HERE}/table.parquet", set()),
        (f"{HERE}/recordings.jsonl", {"recordings"}),
        (f"{HERE}/record.json", set()),
        (f"{HERE}/table.parquet/part.parquet", set()),  # an artifact, not a file in one, is what is withheld
        (f"artifacts/{FORECAST}/ingest/features/offer.parquet", set()),
        (f"artifacts/{FORECAST}/fit/offer.parquet", set()),
        ("features/offer.parquet", set()),
        (f"x/{HERE}/recordings.jsonl", set()),
    ],
)
def test_which_artifacts_go_with_which_word(name: str, words: set[str]) -> None:
    assert artifact_words(name) == words
    assert hides_artifact(("creatives", "recordings"), name) == bool(words)
    assert not hides_artifact(("data", "source", "stage"), name)
