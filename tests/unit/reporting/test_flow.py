"""The drawn pipeline: stages from left to right, every arrow forward."""

from __future__ import annotations

from xml.etree import ElementTree

from tunalm.reporting.flow import flow, places_of

KINDS = {"sft": "sft", "teacher": "sample", "by_teacher": "rank", "tuna_p": "train", "<b>&\x1b": "evaluate"}
READS = {"sft": [], "teacher": [], "by_teacher": ["teacher"], "tuna_p": ["sft", "by_teacher"], "<b>&\x1b": ["tuna_p"]}


def test_a_stage_stands_right_of_all_that_it_reads_and_boxes_do_not_overlap() -> None:
    places = places_of(KINDS, READS)
    assert all(places[read][0] < places[name][0] for name, reads in READS.items() for read in reads)
    assert len(set(places.values())) == len(KINDS)


def test_it_has_every_name_and_is_described_for_those_who_cannot_see_it() -> None:
    drawn = ElementTree.fromstring(flow(KINDS, READS, {"sft": True}))
    assert {"sft", "teacher", "by_teacher", "tuna_p", "<b>&?"} <= {text.strip() for text in drawn.itertext()}
    assert "tuna_p (train) reads sft, by_teacher" in drawn.attrib["aria-label"]
    assert sum("stroke-dasharray" in str(box.attrib.get("style")) for box in drawn.iter()) == 4, "unfinished ones"
