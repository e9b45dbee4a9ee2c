"""N responses per instruction, drawn so that they differ if the recipe asks for it.

    instructions + worked examples --requests--> prompts --calls--> draws, one per slot
    draws --diverse: ROUGE-L < tau--> kept, or drawn again at a higher temperature (at most `max_attempts` times)
    kept draws --> list[Ranking], not ranked --run--> responses.jsonl

`sample` is a function from records to records; `run` is the stage, `sample` with a folder; `requests` says what it
will ask.
"""

from tunalm.sampling.sampler import demonstration_pool, requests, run, sample

__all__ = ["demonstration_pool", "requests", "run", "sample"]
