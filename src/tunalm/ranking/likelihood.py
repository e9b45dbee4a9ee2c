"""Probabilistic ranking: a response is as good as its teacher found it likely (section 2.2 of the paper, Eq. 3)."""

from __future__ import annotations

from collections.abc import Sequence

from tunalm.errors import DataError
from tunalm.ranking.base import is_usable, with_scores
from tunalm.recipe import Rank
from tunalm.records import Ranking, Response
from tunalm.store import StageContext


def likelihood_score(logprob: float, num_tokens: int, *, length_penalty: float = 1.3) -> float:
    """Log-likelihood with a length penalty (Eq. 3): s = log p(r | i) / |r| ** beta.

    Args:
        logprob: log p(r | i) under the teacher, in nats, summed over the response.
        num_tokens: |r|, in the teacher's tokens.
        length_penalty: beta; 1 is the mean per token, more favours longer responses.

    Raises:
        ValueError: there are no tokens, or `logprob` is not the logarithm of a probability.
    """
    if num_tokens <= 0:
        raise ValueError(f"num_tokens is {num_tokens}; a response has at least one token")
    if not logprob <= 0:
        raise ValueError(f"logprob is {logprob}; the logarithm of a probability is 0 or less")
    return float(logprob / num_tokens**length_penalty)


class LikelihoodRanker:
    """Ranks by Eq. 3, from the log-probabilities that were kept when the responses were sampled."""

    def __init__(self, settings: Rank, context: StageContext) -> None:
        self._where = settings.responses
        self._length_penalty = settings.length_penalty
        self.name = f"likelihood beta={settings.length_penalty:g}"

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Score every usable response; a text that was drawn twice has one score."""
        return [with_scores(row, self._scores(row), self.name) for row in rows]

    def _scores(self, row: Ranking) -> list[float | None]:
        known: dict[tuple[str, int | None], float] = {}  # two draws of one text differ in rounding, not in rank
        scores: list[float | None] = []
        for position, response in enumerate(row.responses):
            if not is_usable(response):
                scores.append(None)
                continue
            score = self._score(response, f"{self._where}: row '{row.id}', response {position}")
            scores.append(known.setdefault((response.text, response.num_tokens), score))
        return scores

    def _score(self, response: Response, where: str) -> float:
        if response.logprob is None or response.num_tokens is None:
            raise DataError(
                where,
                found="no log-probability",
                expected="logprob and num_tokens, which by: likelihood reads",
                fix="Sample with logprobs: true, or rank with by: judge.",
            )
        try:
            return likelihood_score(response.logprob, response.num_tokens, length_penalty=self._length_penalty)
        except ValueError as error:
            raise DataError(
                where, found=str(error), expected="numbers that a model can have given", fix="Sample this row again."
            ) from error
