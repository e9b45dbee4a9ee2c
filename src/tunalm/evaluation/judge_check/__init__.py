"""Judges judged: their verdicts on pairs of answers for which it is known which one is better."""
