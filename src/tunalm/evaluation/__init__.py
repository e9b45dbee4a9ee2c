"""Evaluation: models answer held-out instructions, the answers are scored, and the models are compared.

    benchmarks --rows--> questions --every model in turn, greedily--> predictions.jsonl
                         samples, and texts that are given ---------> samples.jsonl
    answers --score, a judge, measures of samples and lists--> rows.jsonl, one verdict per measure, model and row
    verdicts --means, intervals, paired tests--> results.json; published totals --> harness/MODEL/

`evaluate` is the function, `run` is the stage, and `requests` says what a model will be asked.
"""

from tunalm.evaluation.runner import check, evaluate, open_benchmarks, requests, run

__all__ = ["check", "evaluate", "open_benchmarks", "requests", "run"]
