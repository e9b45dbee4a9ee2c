"""The stage `proxy`: ranked lists in, a model that scores responses out, and how far it agrees with the judge.

`model/` loads with `AutoModelForSequenceClassification`. It scores a conversation whose last turn is the response,
tokenised without the token that ends it; `model_max_length` of its tokenizer is where training cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tunalm.calls.context import StageContext
from tunalm.engines.huggingface import load_scorer
from tunalm.errors import DataError
from tunalm.recipe import Proxy
from tunalm.records import Ranking
from tunalm.store import Summary
from tunalm.training.encoding import encode_row
from tunalm.training.fitting import TrainingRun
from tunalm.training.heads import unwrapped
from tunalm.training.proxy.heldout import ScoredList, agreement, conversation, length_preference, split
from tunalm.training.proxy.scores import sequence_scores
from tunalm.training.runs import read_lists
from tunalm.training.trainer import RankingConfig, RankingTrainer

OBJECTIVE = {"ranking_loss": "plackett_luce", "imitate": None, "mle_weight": 0.0, "margin": 0.0}


class ProxyTrainer(RankingTrainer):
    """Trains a scalar head and the decoder under it on ranked rows; see `RankingTrainer`."""

    read = staticmethod(sequence_scores)
    adapters = "SEQ_CLS"

    @staticmethod
    def load(source: str, trust_remote_code: bool) -> Any:
        """Load a language model with a new head, in float32."""
        return load_scorer(source, trained=False, trust_remote_code=trust_remote_code)

    def __init__(self, model: Any, args: RankingConfig, **more: Any) -> None:
        tokenizer = more["processing_class"]
        tokenizer.padding_side, tokenizer.model_max_length = "right", args.max_length
        unwrapped(model).config.pad_token_id = tokenizer.pad_token_id
        super().__init__(model, args, **more)


def run_proxy(settings: Proxy, context: StageContext) -> Summary:
    """Train a proxy ranking model on the order of ranked lists.

    Returns:
        Rows as `run_train` counts them; `details` has `held_out`, see `heldout.agreement`.

    Raises:
        DataError: there is nothing to rank, or nothing is left to train on beside the held-out lists.
        ModelError: the model or its template cannot be used.
        TrainingError: a loss that is not finite.
    """
    rows, parts = read_lists(settings.rankings)
    if settings.held_out_rankings is None:
        rows, held_out = split(rows, settings.held_out, settings.seed)
    else:
        held_out, _ = read_lists([settings.held_out_rankings])
        known = set(map(conversation, held_out))
        rows = [row for row in rows if conversation(row) not in known]
    if not rows:
        raise DataError(
            settings.rankings[0].source,
            found="no list of an instruction that is not held out",
            fix="Name other lists as held_out_rankings, or hold out a share of these.",
        )

    def held_out_agreement(trainer: ProxyTrainer) -> dict[str, Any]:
        lists = judged(trainer, held_out)
        figures = agreement(lists, length_preference(rows), settings.seed)
        return {"held_out": {**figures, "left_out": len(held_out) - len(lists)}}

    summary = TrainingRun(
        settings,
        settings.start,
        rows,
        OBJECTIVE,
        context.folder,
        context.trust_remote_code,
        ProxyTrainer,
        held_out_agreement,
    )()
    return replace(summary, details={"lists": parts, **summary.details})


def judged(trainer: ProxyTrainer, rows: Sequence[Ranking]) -> list[ScoredList]:
    """Score lists as they are trained on; those in which nothing ranks above another, or that do not fit, are left
    out."""
    groups, lengths = [], []
    for row in rows:
        group = encode_row(row.model_copy(update={"reference": None}), trainer.encoder, trainer.args.max_length)
        if group is not None and group.has_pairs:
            groups.append(group)
            lengths.append([len(row.responses[target.number or 0].text) for target in group.targets])
    found = trainer.values(groups, trainer.route, "scoring held-out lists")
    return [
        ScoredList([target.rank or 0 for target in group.targets], scores, texts)
        for group, scores, texts in zip(groups, found, lengths, strict=True)
    ]
