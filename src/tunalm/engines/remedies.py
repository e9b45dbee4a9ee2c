"""What a user can do about a request that failed, and whether asking again may help, by how its reason begins."""

from __future__ import annotations

from typing import NamedTuple

from tunalm.records import UNKNOWN


class Remedy(NamedTuple):
    """What helps against one kind of failure."""

    advice: str
    passes: bool = False
    """The same request may be answered the next time."""


_ADDRESS = (
    "Check base_url (it usually ends in /v1) and protocol: what answers there does not speak the OpenAI protocol."
)
_BUSY = "Lower concurrency or raise timeout: the server takes longer than that."
_CUT = "Look for what ends connections early: the server's log, or a proxy's time limit; lower max_new_tokens."
_SILENT = "Look at the texts on the server: a chat template that does not fit, or a stop string; or take another model."
_FEWER = "Set max_n: 1, and each response is asked for in a call of its own."
_WEIGHTS = "Serve the model in another precision, or check its weights."
_NO_LOGPROBS = "Take a model in this process (kind: huggingface) or vLLM, or rank with by: judge."
_REFUSED = "Leave the row out, or ask a model that answers it."

REMEDIES = {
    "no-connection": Remedy("Start the server, or correct base_url.", passes=True),
    "timeout": Remedy(_BUSY, passes=True),
    "too-slow": Remedy(_BUSY, passes=True),
    "reset": Remedy(_CUT, passes=True),
    "truncated": Remedy(_CUT, passes=True),
    "not-http": Remedy("Check the port of base_url, and whether it is http or https.", passes=True),
    "too-large": Remedy("Find out why the server ignores the limit of tokens; try max_tokens_field.", passes=True),
    "bad-encoding": Remedy(
        "Ask the server without the proxy that packs its replies, or correct the proxy.", passes=True
    ),
    "empty-body": Remedy(_CUT, passes=True),
    "not-utf8": Remedy("Update the server: JSON is UTF-8.", passes=True),
    "html": Remedy("Check base_url: a web page answers there, perhaps a login or a proxy.", passes=True),
    "bad-json": Remedy(_ADDRESS, passes=True),
    "error-reply": Remedy("Read what the server says, and its log.", passes=True),
    "wrong-schema": Remedy(_ADDRESS, passes=True),
    "missing-choices": Remedy(_FEWER, passes=True),
    "duplicate-index": Remedy(_FEWER, passes=True),
    "null-content": Remedy(_SILENT),
    "empty-text": Remedy(_SILENT),
    "cut-thoughts": Remedy("Raise max_new_tokens, or let the model think less (reasoning_effort, template_args)."),
    "tool-call": Remedy("Start the server without a parser of tool calls, or take another model."),
    "refusal": Remedy(_REFUSED),
    "content-filter": Remedy(_REFUSED),
    "unknown-end": Remedy("Look at the server's log: it ended the reply itself."),
    "missing-logprobs": Remedy(_NO_LOGPROBS),
    "nan-logprob": Remedy(_WEIGHTS),
    "wrong-logprobs": Remedy(_NO_LOGPROBS),
    "split-token": Remedy(_NO_LOGPROBS),
    "not-finite": Remedy(_WEIGHTS),
    "too long": Remedy("Serve the model with more context, or leave the row out."),
    "http-400": Remedy(
        "Read what the server says: a prompt beyond its context, or a field that it does not take (omit)."
    ),
    "http-401": Remedy("Check the key in the variable that api_key_env names."),
    "http-403": Remedy(_REFUSED),
    "http-404": Remedy("Check base_url and the name of the model; or leave the row out."),
    "http-413": Remedy("Shorten the row, or raise the server's limit on requests."),
    "http-422": Remedy("Read what the server says: a field that it does not take (omit)."),
    "http-501": Remedy("Ask another server: this one does not do it."),
    "http-504": Remedy("Lower max_new_tokens or concurrency: a gateway gave up waiting for the model.", passes=True),
    "http-524": Remedy("Lower max_new_tokens or concurrency: a gateway gave up waiting for the model.", passes=True),
    "http-5": Remedy("Look at the server's log.", passes=True),
    "http-429": Remedy("Lower requests_per_minute or concurrency.", passes=True),
    "": Remedy("Change what it names: a setting of the engine or the stage, or the server.", passes=True),
}
"""By how a failure begins; the first that fits."""


def remedy(failure: str) -> Remedy:
    """What helps against a failure."""
    said = failure.removeprefix(UNKNOWN)
    return next(found for start, found in REMEDIES.items() if said.startswith(start))
