"""Ranked lists of others: the shapes that their rows may have, one model each, and how each becomes a `Ranking`.

    tunalm         {instruction, responses: [{text, rank, score, ...}]}
    lmops          {orig, text, logprob, length}                    sampled lists, not ranked
                   {id, instruct, generation, rank, response_4}     lists with the judge's order
                   {id, instruction, output, score}                 lists as the authors train on them
    ultrafeedback  {instruction, completions: [{response, model, overall_score, ...}]}
    nectar         {prompt, answers: [{answer, model, rank}]}

Ranks count from 0 without gaps and equal ones stay equal; what a row or a response holds beside is kept under its name.
To add a shape, write a model with `pattern` and `fields` and give it a row in `reading.SHAPES`.
"""

from tunalm.data.lists.reading import Source, stream_rankings

__all__ = ["Source", "stream_rankings"]
