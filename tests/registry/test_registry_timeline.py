"""The timeline: every event is drawn, once, where it belongs, without colour as the only sign, in the same bytes."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from itertools import pairwise
from xml.etree import ElementTree

from registry_case import ROOT, event, shipped

from registry import timeline

SVG = "{http://www.w3.org/2000/svg}"


def drawn() -> ElementTree.Element:
    return ElementTree.fromstring(timeline.svg(shipped().events))


def test_the_text_has_one_line_an_event_below_its_year() -> None:
    year, rows = "", {}
    for line in timeline.text(shipped().events).splitlines()[1:]:
        if line[:4].isdecimal():
            year = line[:4]
        elif line[:2].isdecimal():
            rows[line.split()[1]] = f"{year}-{line[:5]}"
    assert rows == {known.id: str(known.effective) for known in shipped().events}


def test_a_bar_covers_the_weeks_of_its_event() -> None:
    line = timeline.text([event(effective="2020-01-06", end="2020-01-28")]).splitlines()[-1]
    assert line.split()[-1] == "AAAA" + "." * 49
    lasting = event(**{"class": "regime_change", "persistence": "permanent", "end": None, "effective": "2020-12-01"})
    assert timeline.text([lasting]).splitlines()[-1].split()[-1] == "." * 47 + "R>>>>>"
    nothing = event(**{"class": "null_announcement", "persistence": "none", "end": None})
    assert timeline.text([nothing]).splitlines()[-1].split()[-1] == "N" + "." * 52


def test_what_ends_in_another_year_is_drawn_to_the_end_of_its_own() -> None:
    line = timeline.text([event(effective="2020-12-20", end="2021-03-01")]).splitlines()[-1]
    assert line.split()[-1] == "." * 50 + "A>>"


def test_every_event_is_a_list_item_with_its_dates_and_title_in_words() -> None:
    items = {item.attrib["aria-label"] for item in drawn().iter(f"{SVG}g") if item.attrib.get("role") == "listitem"}
    assert len(items) == len(shipped().events)
    assert "2021-10-04: Facebook, Instagram and WhatsApp vanish from the network for six hours" in items
    names = [text.text for text in drawn().iter(f"{SVG}text")]
    assert {known.id for known in shipped().events} <= set(names)


def test_the_drawing_says_what_it_is_and_needs_nothing_from_elsewhere() -> None:
    root, text = drawn(), timeline.svg(shipped().events)
    assert root.attrib["role"] == "img"
    assert [root.find(f"{SVG}{name}").attrib["id"] for name in ("title", "desc")] == ["title", "about"]  # type: ignore[union-attr]
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert not {"script", "image", "style", "foreignObject"} & {node.tag.removeprefix(SVG) for node in root.iter()}


def test_titles_cannot_break_out_of_the_drawing() -> None:
    hostile = event(title='</title><script>alert("1")</script> & more')
    root = ElementTree.fromstring(timeline.svg([hostile]))
    assert not list(root.iter(f"{SVG}script"))


def test_nothing_is_drawn_over_something_else_or_outside() -> None:
    root = drawn()
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    spans: dict[int, list[tuple[int, int]]] = {}
    for item in (item for item in root.iter(f"{SVG}g") if item.attrib.get("role") == "listitem"):
        name = item.find(f"{SVG}text")
        assert name is not None
        x, y, wide = int(name.attrib["x"]), int(name.attrib["y"]), 6 * len(name.text or "")
        left = x - wide if name.attrib["text-anchor"] == "end" else x
        assert 0 <= left < left + wide <= width
        assert 0 < y < height
        spans.setdefault(y, []).append((left, left + wide))
    for row in spans.values():
        row.sort()
        assert all(one[1] <= other[0] for one, other in pairwise(row))


def contrast(colour: str) -> float:
    """WCAG 2.1 contrast of a colour on white."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def test_text_can_be_read_on_white() -> None:
    colours = {node.attrib["fill"] for node in drawn().iter() if node.attrib.get("fill", "#ffffff") != "#ffffff"}
    assert len(colours) >= 5
    assert min(map(contrast, colours)) >= 4.5


def test_the_order_in_which_events_come_changes_nothing() -> None:
    events = shipped().events
    assert timeline.svg(events[::-1]) == timeline.svg(events)
    assert timeline.text(events[::-1]) == timeline.text(events)


def test_other_hash_seeds_time_zones_and_locales_give_the_same_bytes() -> None:
    code = "from registry import regimes, timeline; print(timeline.svg(regimes.load(regimes.SHIPPED).events), end='')"
    for seed, zone in (("1", "UTC"), ("77", "Asia/Tokyo")):
        environ = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "TZ": zone, "LANG": "C"}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True)
        assert done.stdout.decode() == timeline.svg(shipped().events)


def test_one_event_alone_can_be_drawn() -> None:
    assert date(2020, 1, 6) == event().effective
    assert ElementTree.fromstring(timeline.svg([event()])).attrib["role"] == "img"
