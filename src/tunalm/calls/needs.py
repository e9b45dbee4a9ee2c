"""Refuses a stage that needs more than its engine gives, before its first request.

Nobody knows what a server gives until it is asked. It is asked for a few tokens, once for all runs on a ledger: a batch
of 50,000 requests whose replies lack what they were made for would cost more.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunalm.calls.journal import LedgerJournal
from tunalm.engines.base import Completion, Engine, Probed, Request
from tunalm.errors import EngineError
from tunalm.progress import console
from tunalm.records import Message

KNOWN = "gives"
"""Name under which the journal keeps what an engine was found to give."""
QUESTION = [Message(role="user", content="Name an animal.")]
FEW_TOKENS = 8
REFUSALS = ("http-400", "http-422", "http-501")

WAYS_OUT = {
    "logprobs": (
        "log-probabilities, which logprobs: true asks for",
        "Sample from a model in this process or from another server (vLLM, llama.cpp), or set logprobs: false and rank "
        "with by: judge.",
    ),
    "json_schema": (
        "replies that keep to a JSON schema",
        "Ask a model in this process or on another server (vLLM, SGLang, llama.cpp, OpenAI).",
    ),
    "scores": (
        "log-probabilities of responses that it is given",
        "Score with a model in this process, or with kind: endpoint and protocol: completions if the model takes the "
        "Alpaca prompt.",
    ),
}
"""What requests may need -> in words, and how to do without."""


def require(engine: Engine, units: Sequence[Sequence[Request]], journal: LedgerJournal) -> None:
    """Make sure that an engine gives what requests ask for: log-probabilities, JSON, scores of given responses.

    Trouble that says nothing about what a server can do is left to the calls to come.

    Raises:
        EngineError: it does not; the ways out are named.
        BudgetError: not even the question can be paid for.
    """
    asked = [request for unit in units for request in unit]
    needs = {
        "scores": next((request for request in asked if request.given), None),
        "logprobs": next((request for request in asked if request.logprobs and not request.given), None),
        "json_schema": next((request for request in asked if request.json_schema is not None), None),
    }
    known = set((journal.recall(KNOWN) or "").split())
    for need, request in needs.items():
        if request is None or need in known:
            continue
        if not getattr(engine.capabilities, need):
            raise _refusal(engine, need)
        if isinstance(engine, Probed) and not request.given:
            _ask(engine, engine, need, request, journal)
            known.add(need)
            journal.remember(KNOWN, " ".join(sorted(known)))


def _ask(engine: Engine, probed: Probed, need: str, request: Request, journal: LedgerJournal) -> None:
    """Ask for a few tokens in the way of `request`, and, if that is refused, in the plainest way there is."""

    def ask(small: Request) -> Completion:
        journal.sending([small])
        reply = probed.probe(small)
        journal.answered([small], [reply])
        return reply

    plain = Request(key="probe", messages=QUESTION, max_new_tokens=FEW_TOKENS)
    reply = ask(plain.model_copy(update={need: getattr(request, need)}))
    if _is_refusal(reply) and not _is_refusal(ask(plain)):
        raise _refusal(engine, need, f" ({reply.failure})")
    if need == "json_schema" and reply.text and not reply.text.lstrip().startswith("{"):
        message = "      the server does not keep to a JSON schema; replies without JSON will be failures"
        console().print(message, markup=False)


def _is_refusal(reply: Completion) -> bool:
    return (reply.failure or "").startswith(REFUSALS)


def _refusal(engine: Engine, need: str, said: str = "") -> EngineError:
    what, fix = WAYS_OUT[need]
    return EngineError(engine.identity, found=f"it does not give {what}{said}", fix=fix)
