"""The ranker behind `by: simulated`: a pool of judges that stands for people, as in AlpacaFarm (Dubois et al. 2023).

Each pair of a list is shown to one judge, drawn from the pool by seed, in an order drawn by seed, and the label that
comes back is flipped with probability `flip`, again by seed. That gives the spread between people and their noise. A
response's score is the number of pairs it wins; a list of two is one pair, which is what a reward model is trained on.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tunalm.calls.context import Calls
from tunalm.data.fences import NOTICE, fences
from tunalm.engines.base import Completion, Request
from tunalm.ranking.base import unranked, with_scores
from tunalm.recipe import Rank
from tunalm.records import Message, Ranking

STYLES = {
    "plain": "You compare two responses to an instruction. Choose the one that you would rather have received.",
    "strict": "You compare two responses to an instruction. Correct statements count first: an error weighs more than "
    "good style. Choose the better response.",
    "helpful": "You compare two responses to an instruction. Choose the one that helps the person who asked more.",
    "detailed": "You compare two responses to an instruction. Choose the one that explains more of what matters, as "
    "long as it stays with the question.",
    "brief": "You compare two responses to an instruction. If both answer it, choose the one that gets to the point "
    "sooner.",
}
"""What a judge of the pool is told, by the name of its `style`."""
QUESTION = "Which response is better? Answer with its number alone: 1 or 2."
VERDICT = re.compile(r"(?<!\d)[12](?!\d)")
NO_VERDICT = "a judge named neither response 1 nor response 2"


@dataclass(frozen=True)
class Duel:
    """One pair of a list, as a judge sees it."""

    row: Ranking
    first: int
    """Place in the list of the response that is shown as 1."""
    second: int
    judge: int
    """Place in the pool."""
    flipped: bool

    @property
    def key(self) -> str:
        """Of its request."""
        return f"{self.row.id}/{self.first}-{self.second}"


class SimulatedRanker:
    """Asks a pool of judges about every pair of every list."""

    def __init__(self, settings: Rank, calls: Calls) -> None:
        self._settings, self._calls = settings, calls
        self._counts: Counter[str] = Counter()
        self.name = f"simulated by {len(settings.pool)} judges"

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Ask about every pair; a list of which a verdict is missing comes back without ranks."""
        answers: dict[str, Completion] = {}
        for number, own in requests(rows, self._settings).items():
            engine = self._calls.open(self._settings.pool[number].engine)
            title = f"judge {number + 1} of {len(self._settings.pool)}"
            answers |= self._calls.complete(
                engine, own, title, unusable=lambda answer: None if verdict(answer.text) else NO_VERDICT
            )
        return [self._ranked(row, answers) for row in rows]

    def _ranked(self, row: Ranking, answers: Mapping[str, Completion]) -> Ranking:
        wins = {place: 0 for place, response in enumerate(row.responses) if response.is_usable}
        for duel in duels_of(row, self._settings):
            answer = answers[duel.key]
            chosen = verdict(answer.text) if answer.failure is None else None
            if chosen is None:
                return unranked(row, answer.failure or NO_VERDICT)
            first_wins = (chosen == 1) != duel.flipped
            self._counts.update(pairs=1, flipped=duel.flipped, first=chosen == 1)
            wins[duel.first if first_wins else duel.second] += 1
        scores = [float(wins[place]) if place in wins else None for place in range(len(row.responses))]
        return with_scores(row, scores, self.name)

    def figures(self) -> dict[str, Any]:
        """How many pairs were judged, how many labels flipped, and how often the response shown first was chosen."""
        pairs, first = self._counts["pairs"], self._counts["first"]
        chosen = round(first / pairs, 4) if pairs else None
        return {"simulated": {"pairs": pairs, "flipped": self._counts["flipped"], "first_chosen": chosen}}


def requests(rows: Sequence[Ranking], settings: Rank) -> dict[int, list[Request]]:
    """What each judge of the pool will be asked, by its place; one that was never drawn is not there."""
    asked: defaultdict[int, list[Request]] = defaultdict(list)
    for row in rows:
        for duel in duels_of(row, settings):
            asked[duel.judge].append(request_of(duel, settings))
    return asked


def duels_of(row: Ranking, settings: Rank) -> list[Duel]:
    """The pairs of a list, with all that is drawn for them; it depends on the seed and the list's id alone."""
    usable = [place for place, response in enumerate(row.responses) if response.is_usable]
    duels = []
    for one, other in combinations(usable, 2):
        dice = random.Random(f"{settings.seed}/{row.id}/{one}/{other}")
        judge = dice.randrange(len(settings.pool))
        first, second = (one, other) if dice.random() < 0.5 else (other, one)
        duels.append(Duel(row, first, second, judge, dice.random() < settings.flip))
    return duels


def request_of(duel: Duel, settings: Rank) -> Request:
    """The question about a pair; what is the same for all pairs stands first."""
    judge = settings.pool[duel.judge]
    one, other = (duel.row.responses[place].text for place in (duel.first, duel.second))
    conversation = "\n\n".join(message.text for message in duel.row.messages())
    pieces = [("instruction", conversation), ("response 1", one), ("response 2", other)]
    text = f"{fences(pieces, drawn_with=[settings.seed, duel.key])}\n\n{QUESTION}"
    told = f"{judge.prompt or STYLES[judge.style]} {NOTICE}"
    messages = [Message(role="system", content=told), Message(role="user", content=text)]
    return Request(
        key=duel.key,
        messages=messages,
        temperature=judge.temperature,
        max_new_tokens=settings.max_new_tokens,
        seed=random.Random(f"{settings.seed}/{duel.key}").randrange(1 << 31),
    )


def verdict(text: str) -> int | None:
    """1 or 2; None where a reply names neither, or both."""
    named = set(VERDICT.findall(text))
    return int(named.pop()) if len(named) == 1 else None
