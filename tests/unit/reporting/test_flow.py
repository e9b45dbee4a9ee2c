"""The drawn pipeline: stages from left to right, every arrow forward."""

from __future__ import annotations

from xml.etree import ElementTree

from tunalm.reporting.flow import flow

KINDS = {"sft": "sft", "teacher": "sample", "by_teacher": "rank", "tuna_p": "train", "<b>&\x1b": "evaluate"}
READS = {"sft": [], "teacher": [], "by_teacher": ["teacher"], "tuna_p": ["sft", "by_teacher"], "<b>&\x1b": ["tuna_p"]}


def drawn() -> ElementTree.Element:
    return ElementTree.fromstring(flow(KINDS, READS, {"sft": True}))


def test_a_stage_stands_right_of_all_that_it_reads() -> None:
    boxes = [element for element in drawn() if element.tag.endswith("rect")]
    across = dict(zip(KINDS, (float(box.attrib["x"]) for box in boxes), strict=True))
    assert all(across[read] < across[name] for name, reads in READS.items() for read in reads)


def test_there_is_an_arrow_for_everything_that_is_read() -> None:
    arrows = [element for element in drawn() if element.attrib.get("class") == "arrow"]
    assert len(arrows) == sum(map(len, READS.values()))


def test_boxes_do_not_overlap() -> None:
    places = {(box.attrib["x"], box.attrib["y"]) for box in drawn() if box.tag.endswith("rect")}
    assert len(places) == len(KINDS)


def test_only_finished_stages_have_a_whole_frame() -> None:
    frames = [box.attrib["class"] for box in drawn() if box.tag.endswith("rect")]
    assert frames == ["box", *["box open"] * 4]


def test_it_is_described_for_those_who_cannot_see_it() -> None:
    assert "tuna_p (train) reads sft, by_teacher" in drawn().attrib["aria-label"]
