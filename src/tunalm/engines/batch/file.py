"""The batch file format of OpenAI, which `vllm run-batch` reads and writes too: one request, or one reply, a line.

Replies come in any order. Which request a reply belongs to is said by its `custom_id` and by nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from pydantic import BaseModel, ValidationError

from tunalm.engines.base import Request
from tunalm.engines.endpoint.bodies import Dialect
from tunalm.engines.endpoint.wire import Answer
from tunalm.redaction import without_secret_bytes
from tunalm.store import digest

Unit = Sequence[Request]
NOT_EXECUTED = frozenset({"batch_expired", "batch_cancelled"})
"""Codes of requests that were never carried out, and are not charged for."""


NOT_SENT = Answer(0, {}, b"")
"""To a request that was not carried out: the status is 0."""


class _Response(BaseModel):
    status_code: int
    body: Any = None


class _Line(BaseModel):
    custom_id: str
    response: _Response | None = None
    error: Any = None


def custom_id(unit: Unit) -> str:
    """What a unit is called in a file: equal requests, and no others, have equal names."""
    return digest([request.model_dump() for request in unit])[:32]


def request_line(dialect: Dialect, unit: Unit) -> bytes:
    """The line that asks for a unit, with its line end."""
    line = {
        "custom_id": custom_id(unit),
        "method": "POST",
        "url": f"/v1{dialect.path(unit[0])}",
        "body": json.loads(dialect.body(unit)),
    }
    return json.dumps(line).encode() + b"\n"


def read_replies(lines: IO[bytes] | Iterable[bytes], wanted: Mapping[str, Unit]) -> Iterator[tuple[str, Answer]]:
    """The replies to `wanted`, each at most once; lines that are damaged or answer something else are left out."""
    seen: set[str] = set()
    for line in lines:
        try:
            parsed = _Line.model_validate_json(without_secret_bytes(line))
        except ValidationError:
            continue
        if parsed.custom_id in wanted and parsed.custom_id not in seen:
            seen.add(parsed.custom_id)
            yield parsed.custom_id, _reply(parsed)


def _reply(line: _Line) -> Answer:
    error = line.error if isinstance(line.error, dict) else {"message": line.error} if line.error else None
    code = str(error.get("code")) if error else ""
    if line.response is None and (error is None or code in NOT_EXECUTED):
        return NOT_SENT
    if line.response is None:
        return Answer(400, {}, json.dumps({"error": error}).encode())
    body = line.response.body if line.response.body or not error else {"error": error}
    data = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Answer(line.response.status_code, {}, data)
