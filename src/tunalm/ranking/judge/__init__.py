"""Contextual ranking: a language model compares the responses of a list in one prompt (section 2.3 of the paper).

The judge says what kind of instruction it is, writes a response of its own and marks every response on three criteria
against it. Two protocols ask for that:

* `audited` asks several times, in orders in which every response stands in every place, for JSON with evidence before
  marks; the ranks come from the marks, added up and averaged here, and ties stay ties.
* `paper` asks once, for a text with all steps of the paper, and takes the order that the judge states.

Everything that the judge is shown was written by somebody else: it stands between lines that it cannot contain
(`questions`), and what is no response at all is not shown (`degenerate`). A reply that is not exactly what was asked
for is no reply; nothing is guessed (`replies`). How the judge does is measured as it works (`canaries`, `health`).
"""
