"""Ranked lists: the shapes that their rows may have, one model each, and how each becomes a `Ranking`.

    file --> raw rows --> shape of the row --> Ranking --> dense ranks, no rank or reference without text

    tunalm         {instruction, responses: [{text, rank, score, ...}]}
    pairs          {prompt, chosen, rejected}, each a text or a list of turns; the prompt may be in other fields
    nemo-rl        {context, completions: [{rank, completion}]}
    lmops          {orig, text, logprob, length}                    sampled lists, not ranked
                   {id, instruct, generation, rank, response_4}     lists with the judge's order
                   {id, instruction, output, score}                 lists as the authors train on them
    ultrafeedback  {instruction, completions: [{response, model, overall_score, ...}]}
    nectar         {prompt, answers: [{answer, model, rank}]}

Fields that a row or a response holds beside are kept under their names. To add a shape, write a model with `pattern`
and `fields` and give it a row in `reading.SHAPES`.
"""

from tunalm.data.lists.reading import Source, load_lists, require_ranked, stream_lists

__all__ = ["Source", "load_lists", "require_ranked", "stream_lists"]
