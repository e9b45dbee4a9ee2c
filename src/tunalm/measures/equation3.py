"""Eq. 3 of the paper: how good a response is by how likely its teacher found it, with a penalty for its length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LengthUnit = Literal["tokens", "characters"]


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


@dataclass(frozen=True)
class Likelihood:
    """How likely a teacher finds a response."""

    logprob: float
    """In nats, summed over the response."""
    num_tokens: int
    """Of the teacher."""

    def score(self, text: str, length_penalty: float, unit: LengthUnit) -> float:
        """Eq. 3 for the response `text`, its length in tokens or in characters; raises as `likelihood_score`."""
        length = len(text) if unit == "characters" and self.num_tokens > 0 else self.num_tokens
        return likelihood_score(self.logprob, length, length_penalty=length_penalty)
