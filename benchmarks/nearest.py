"""The filter of new instructions: how long it takes to keep 52,000 of which no two have a ROUGE-L of 0.7 or more.

`python -m benchmarks.nearest [--keep 52000] [--whole]`. Instructions are 4 to 40 words of a made-up language, as often
as Zipf's law has it; a third of them are earlier ones with a few words changed. They come 35 at a time, as from a round
of five replies. Without `--whole` a pool is filled up, and rounds are timed at five sizes; what an instruction takes
grows evenly with the pool, so the whole follows from these. Before that, 1,500 are compared one after the other by
`rouge_l`: the very same must be kept.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from itertools import accumulate, islice

from tunalm.measures.nearest import Pool
from tunalm.measures.rouge import rouge_l

AT_ONCE, ROUNDS, CHECKED, LIMIT, WORDS = 35, 20, 1500, 0.7, 20_000
LANGUAGE = [f"{number:x}".translate(str.maketrans("0123456789abcdef", "bdfgklmnprstvaei")) for number in range(WORDS)]
ODDS = list(accumulate(1 / (rank + 3) for rank in range(WORDS)))


def instructions(dice: random.Random) -> Iterator[str]:
    """Endlessly."""
    earlier: list[list[str]] = []
    while True:
        if earlier and dice.random() < 1 / 3:
            words = list(dice.choice(earlier))
            for place in dice.sample(range(len(words)), dice.randint(0, len(words) // 2)):
                words[place] = dice.choices(LANGUAGE, cum_weights=ODDS)[0]
        else:
            words = dice.choices(LANGUAGE, cum_weights=ODDS, k=min(40, max(4, round(dice.gauss(13, 6)))))
            earlier.append(words)
        yield " ".join(words)


def check() -> int:
    """How many of the first instructions are kept, if both ways keep the same."""
    texts = list(islice(instructions(random.Random(0)), CHECKED))
    kept: list[str] = []
    for text in texts:
        kept += [] if any(rouge_l(text, other) >= LIMIT for other in kept) else [text]
    found = Pool(LIMIT, "rouge").take(texts)
    if [text for text, near in zip(texts, found, strict=True) if near is None] != kept:
        raise SystemExit("the pool keeps others than rouge_l")
    return len(kept)


def timed(source: Iterator[str], pool: Pool, rounds: int) -> tuple[float, int]:
    """Processor seconds of some rounds, and how many were kept."""
    batches = [list(islice(source, AT_ONCE)) for _ in range(rounds)]
    started = time.process_time()
    kept = sum(pool.take(texts).count(None) for texts in batches)
    return time.process_time() - started, kept


def main() -> None:
    """Check, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=int, default=52_000)
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    print(f"{check()} of {CHECKED} kept, as by one comparison after the other", flush=True)
    source, pool = instructions(random.Random(1)), Pool(LIMIT, "rouge")
    seconds, kept = 0.0, 0
    if given.whole:
        while kept < given.keep:
            more, new = timed(source, pool, 1)
            seconds, kept = seconds + more, kept + new
        print(f"{kept} kept in {seconds:.0f} processor seconds of one core")
        return
    each = []
    for size in (given.keep * part // 4 for part in range(5)):
        pool.add(list(islice(source, max(0, size - kept))))
        more, new = timed(source, pool, ROUNDS)
        kept = max(size, kept) + new
        each.append(more / max(new, 1))
        print(f"with {size}: {1e3 * each[-1]:.2f} ms for each that is kept, {new} of {ROUNDS * AT_ONCE}", flush=True)
    whole = given.keep / 4 * (sum(each) - (each[0] + each[-1]) / 2)
    print(f"{given.keep} would be kept in {whole:.0f} processor seconds of one core")


if __name__ == "__main__":
    main()
