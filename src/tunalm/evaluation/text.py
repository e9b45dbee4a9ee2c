"""Given texts: how likely a model finds them, in nats per token. What it forgets shows where the number grows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from tunalm.calls.context import Calls
from tunalm.data import load, require_references
from tunalm.data.files import existing_file, read_raw
from tunalm.data.sources import is_hub_dataset
from tunalm.engines.base import Request
from tunalm.errors import DataError
from tunalm.evaluation.base import Measure, Question
from tunalm.evaluation.draws import verdict
from tunalm.recipe import BenchmarkSettings
from tunalm.recipe.base import CHECKABLE
from tunalm.records import Instruction, Message, Prediction


class TextBenchmark:
    """Minus the log-probability of references after their instructions, or of plain texts ({text: ...}), per token.

    It is the mean over tokens: a row weighs as many as it has. One that a model cannot read whole is left out, and
    counted.
    """

    metric = "nats_per_token"
    note = "per token of each model's own tokenizer"

    def __init__(self, settings: BenchmarkSettings) -> None:
        self._settings = settings

    def rows(self) -> list[Instruction]:
        """Instructions with references, or plain texts as rows with an empty instruction."""
        data = self._settings.instructions
        local = not data.source.startswith(CHECKABLE) and not is_hub_dataset(data.source)
        raw = read_raw(existing_file(data.source)) if local else []
        if not (
            raw and isinstance(raw[0].value, dict) and "text" in raw[0].value and "instruction" not in raw[0].value
        ):
            rows = load(data)
            require_references(rows, data.source)
            return rows
        texts: list[Instruction] = []
        for number, row in enumerate(raw):
            text = row.value.get("text") if isinstance(row.value, dict) else None
            if not isinstance(text, str) or not text.strip():
                raise DataError(row.where, found="no text", expected="{text: ...}", fix="Correct or remove the row.")
            texts.append(Question(id=str(number), instruction="", reference=text, raw="", always_raw=True))
        selected = texts[data.select()][: data.limit]
        if not selected:
            raise DataError(data.source, found=f"no row in the slice '{data.rows}'", fix="Change `rows`.")
        return selected

    def asked(self, row: Instruction, seed: int, max_new_tokens: int) -> list[Request]:
        """How likely the text of a row is: a reference with its end, a plain text without."""
        plain = isinstance(row, Question)
        messages = [Message(role="user", content="")] if plain else row.messages()
        request = Request.to_score(messages, row.reference or "", ended=not plain)
        return [request.model_copy(update={"raw": plain})]

    def measures(self, answers: Sequence[Prediction], calls: Calls) -> list[Measure]:
        """Nats per token."""
        tokens: defaultdict[str, list[int]] = defaultdict(list)
        for answer in answers:
            if answer.logprob is not None and answer.num_tokens:
                tokens[answer.model].append(answer.num_tokens)
        verdicts = []
        for answer in answers:
            scored = answer.logprob is not None and answer.num_tokens
            each = verdict(self._settings.label, self.metric, [answer], None)
            if scored and answer.logprob is not None and answer.num_tokens:
                each.score = -answer.logprob / answer.num_tokens
                each.weight = answer.num_tokens / fmean(tokens[answer.model])
            each.unjudged = each.score is None
            verdicts.append(each)
        return [Measure(self._settings.label, self.metric, answers, verdicts)]
