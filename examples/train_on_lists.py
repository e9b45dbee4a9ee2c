"""Train a model on ranked lists of your own with `RankingTrainer`, as with any trainer of transformers.

By default a random one of 60,000 weights; with a real one: python examples/train_on_lists.py --model MODEL_FOLDER
"""

from __future__ import annotations

import argparse
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import set_seed

from tunalm import Ranking, RankingConfig, RankingTrainer, Response

COLOURS = ["red", "green", "blue", "black", "white", "brown", "pink", "grey"]
SIZES = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]
TEXTS = ["It is {}.", "Is it {}?", "..."]  # the best first


def ranked(colour: str) -> Ranking:
    responses = [Response(text=text.format(colour), rank=rank) for rank, text in enumerate(TEXTS)]
    return Ranking(id=colour, instruction=f"Say {colour}.", reference=colour, responses=responses)


def small_model() -> tuple[Any, Any]:
    """A random Llama that reads bytes, the same one every time."""
    set_seed(0)
    alphabet = {char: index for index, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>")
    sizes: dict[str, Any] = dict(zip(SIZES, (64, 128, 1, 2), strict=True))
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), eos_token_id=256, **sizes)), tokenizer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--out", default="runs/train_on_lists")
    arguments = parser.parse_args()
    load = AutoModelForCausalLM.from_pretrained, AutoTokenizer.from_pretrained
    model, tokenizer = [each(arguments.model) for each in load] if arguments.model else small_model()
    knobs: dict[str, Any] = {"template": "alpaca", "batch_size": 8, "learning_rate": 3e-3, "num_train_epochs": 20}
    quiet: dict[str, Any] = {"save_strategy": "no", "report_to": "none", "disable_tqdm": True}
    config = RankingConfig(output_dir=arguments.out, **knobs, **quiet)
    trainer = RankingTrainer(model, config, [ranked(colour) for colour in COLOURS], tokenizer)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(f"{arguments.out}/model")
    steps = [step for step in trainer.state.log_history if "pair_accuracy" in step]
    for step in steps[0], steps[-1]:
        print(f"epoch {step['epoch']:.0f}: loss {step['loss']:.2f}, pairs in order {step['pair_accuracy']:.2f}")


if __name__ == "__main__":
    main()
