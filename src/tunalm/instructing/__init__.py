"""New instructions from people's, with inputs and outputs, by a language model (Self-Instruct).

    seeds + kept so far --rounds: 6 + 2 examples--> replies --replies: numbered lines--> candidates
    candidates --filters: words, length, repeats, ROUGE-L with all--> kept, or rejected with a reason
    kept --is it a classification?--> labels first, or inputs first --> instances --> list[Instruction]

`instruct` is a function from records to records; `run` is the stage, `instruct` with a folder; `requests` says what it
will ask.
"""

from tunalm.instructing.stage import check, instruct, requests, run

__all__ = ["check", "instruct", "requests", "run"]
