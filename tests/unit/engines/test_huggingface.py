"""A tiny random model, with weights large enough that what it has read matters to what it writes."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM

from tests.tiny import END, TEMPLATE, save_tiny_model, tiny_tokenizer
from tunalm.data.prompts import PromptEncoder
from tunalm.engines import tokens as ids
from tunalm.engines.base import Completion, Journal, Request
from tunalm.engines.huggingface import HuggingFaceEngine
from tunalm.engines.huggingface.cache import RoomyLayer, roomy_cache
from tunalm.engines.huggingface.decoding import draw, write_responses
from tunalm.engines.huggingface.reading import read_prompts
from tunalm.engines.huggingface.scoring import POSITIONS, Text, batches, token_logprobs
from tunalm.recipe import HuggingFaceSettings
from tunalm.records import Message

WORDS = ["a", "a quick brown fox", "Äpfel", "two " * 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"), initializer_range=0.5, max_position_embeddings=4096)


@pytest.fixture(scope="module")
def engine(folder: Path) -> HuggingFaceEngine:
    return HuggingFaceEngine(HuggingFaceSettings(model=str(folder), precision="fp32", batch_size=16))


def request(prompt: str, seed: int, **changes: Any) -> Request:
    values = {"key": f"{prompt}/{seed}", "max_new_tokens": 40, "seed": seed, "logprobs": True}
    return Request(messages=[Message(role="user", content=prompt)], **values | changes)


def given_text(prompt: str, text: str, *, ended: bool = True) -> Request:
    return Request.to_score([Message(role="user", content=prompt)], text, ended=ended)


def answers(engine: HuggingFaceEngine, requests: list[Request]) -> dict[str, Completion]:
    found = chain.from_iterable(engine.generate(engine.batches(requests), Journal()))
    return {completion.key: completion for completion in found}


def close(found: list[float] | None, expected: list[float] | None) -> bool:
    assert found is not None
    assert expected is not None
    return found == pytest.approx(expected, abs=1e-4)


REQUESTS = [request(prompt, seed) for prompt in WORDS for seed in range(3)]


def test_units_of_long_requests_are_smaller(engine: HuggingFaceEngine) -> None:
    short = [request(f"{number}", number) for number in range(20)]
    assert [len(unit) for unit in engine.batches(short)] == [16, 4]
    long = [request(f"{number:03}" * 1000, number) for number in range(20)]
    units = engine.batches(long)
    assert {len(unit) for unit in units[:-1]} == {7}  # of 16 x 512 tokens, each about 1040
    mixed = engine.batches([*short, *long])
    assert sorted(one.key for unit in mixed for one in unit) == sorted(one.key for one in [*short, *long])
    assert [len(unit) for unit in engine.batches([request("x" * 60_000, 0)])] == [1]


def test_questions_of_a_task_stand_together_whatever_their_order(engine: HuggingFaceEngine) -> None:
    tasks = ["Say in other words what is said here: ", "Which of these words is the name of a flower? "]
    asked = [request(task + "word " * (number % 4), number) for number in range(16) for task in tasks]
    units = engine.batches(asked)
    assert [len({one.messages[0].text[:10] for one in unit}) for unit in units] == [1, 1]
    assert engine.batches(asked[::-1]) == units


def test_responses_end_at_the_end_token_or_at_the_limit(engine: HuggingFaceEngine) -> None:
    found = answers(engine, REQUESTS).values()
    assert {completion.finish_reason for completion in found} == {"stop", "length"}
    for completion in found:
        assert completion.token_logprobs is not None
        assert completion.num_tokens == len(completion.token_logprobs)
        assert (completion.num_tokens == 40) or completion.finish_reason == "stop"
        assert all(logprob < 0 for logprob in completion.token_logprobs)


def test_a_draw_does_not_depend_on_its_neighbours(engine: HuggingFaceEngine) -> None:
    together = answers(engine, REQUESTS)
    for one in REQUESTS:
        alone = answers(engine, [one])[one.key]
        assert alone.text == together[one.key].text
        assert close(alone.token_logprobs, together[one.key].token_logprobs)


def test_greedy_text_is_that_of_generate(engine: HuggingFaceEngine, folder: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = tiny_tokenizer()
    for prompt in WORDS:
        ids = tokenizer(f"<|user|>{prompt}{END}<|assistant|>", return_tensors="pt")
        written = model.generate(**ids, do_sample=False, max_new_tokens=40)[0, ids["input_ids"].shape[1] :]
        greedy = request(prompt, 0, temperature=0)
        assert answers(engine, [greedy])[greedy.key].text == tokenizer.decode(written, skip_special_tokens=True)


def test_a_penalty_keeps_tokens_from_coming_again_in_that_response_alone(engine: HuggingFaceEngine) -> None:
    model, encoder = engine._load()

    def tokens(*penalties: float) -> list[list[int]]:
        asked = [request("go", 5, temperature=0, presence_penalty=penalty) for penalty in penalties]
        read = read_prompts(model, [encoder.prompt_ids(each.messages) for each in asked], encoder.end_id)
        return [each.tokens for each in write_responses(model, asked, read, (), [40] * len(asked))]

    plain, penalised = tokens(0.0, 1000.0)
    assert plain == tokens(0.0)[0]
    assert len(set(plain)) < len(plain) == len(penalised) == len(set(penalised)) == 40


def test_tokens_have_the_log_probabilities_that_they_were_written_with(folder: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), tiny_tokenizer()
    prompts = [tokenizer.encode(one.messages[0].text, add_special_tokens=False) for one in REQUESTS]
    stops = range(4)
    with torch.inference_mode():
        rooms = [one.max_new_tokens for one in REQUESTS]
        written = write_responses(model, REQUESTS, read_prompts(model, prompts, pad=0), stops, rooms)
        texts = [Text(tuple(prompt), tuple(one.tokens)) for prompt, one in zip(prompts, written, strict=True)]
        scored = token_logprobs(model, texts, pad=0)
    assert len({len(one.tokens) for one in written}) > 3
    assert {one.tokens[-1] in stops for one in written} == {True, False}
    assert all(close(found, one.logprobs) for found, one in zip(scored, written, strict=True))


def test_numbers_that_are_not_finite_fail_the_row_whether_or_not_they_are_asked_for(
    engine: HuggingFaceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = engine._load()
    weight = model.model.layers[0].mlp.up_proj.weight
    monkeypatch.setattr(weight, "data", weight.data.index_fill(0, torch.tensor(0), torch.nan))
    for asked in (request("Hi", 0), request("Hi", 1, logprobs=False), given_text("Hi", "no")):
        answer = answers(engine, [asked])[asked.key]
        assert (answer.failure or "").startswith("not-finite")
        assert not answer.text


def test_a_prompt_that_fills_the_models_positions_fails_and_others_get_the_room_that_is_left(tmp_path: Path) -> None:
    short = save_tiny_model(tmp_path, initializer_range=0.5, max_position_embeddings=64)
    engine = HuggingFaceEngine(HuggingFaceSettings(model=str(short), precision="fp32"))
    fits, fills = request("x" * 30, 4, max_new_tokens=200), request("x" * 70, 4, max_new_tokens=200)
    given = given_text("x" * 30, "y" * 40)
    found = answers(engine, [fits, fills, given])
    assert found[fits.key].failure is None
    assert (found[fits.key].num_tokens or 0) <= 64 - 32
    for one in (fills, given):
        assert (found[one.key].failure or "").startswith("too long: 7")


@pytest.mark.parametrize("special", [True, False])
def test_thoughts_are_told_apart_from_the_answer_and_its_tokens(special: bool) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken(tag, special=special) for tag in ("<think>", "</think>")])
    encoder = PromptEncoder(tokenizer, "chat", "tiny")

    def read(text: str, encoder: PromptEncoder = encoder) -> Completion:
        tokens = tokenizer.encode(text, add_special_tokens=False)
        logprobs = [-float(place) for place, _ in enumerate(tokens)]
        return ids.completion(request("Hi", 0), 3, tokens, logprobs, encoder, "m")

    answer = read(f"<think>\nHm.\n</think>\n\nYes.{END}")
    assert (answer.text, answer.reasoning, answer.failure) == ("Yes.", "Hm.", None)
    assert (answer.num_tokens, answer.token_logprobs) == (5, [-9.0, -10.0, -11.0, -12.0, -13.0])
    assert answer.completion_tokens == 14
    assert read("<think>Hm").failure == "cut-thoughts: the reply ended inside its thoughts; raise max_new_tokens"
    tokenizer.chat_template = TEMPLATE.replace("<|assistant|>{% endif", "<|assistant|><think>\n{% endif")
    opened = PromptEncoder(tokenizer, "chat", "tiny")
    assert read(f"Hm.</think>Yes.{END}", opened).text == "Yes."
    assert (read(f"Hm.{END}", opened).failure or "").startswith("cut-thoughts")


def test_given_texts_have_the_same_scores_whatever_is_read_together(engine: HuggingFaceEngine, folder: Path) -> None:
    asked = [given_text(prompt, text) for text in ("", "no", *WORDS) for prompt in WORDS]
    one_by_one = HuggingFaceEngine(HuggingFaceSettings(model=str(folder), precision="fp32", batch_size=1))
    both = answers(engine, [*asked, request("Hi", 0)]), answers(one_by_one, asked)
    for each in asked:
        together, alone = (found[each.key] for found in both)
        assert together.text == alone.text == each.messages[-1].text
        assert close(together.token_logprobs, alone.token_logprobs)


def test_a_score_is_the_log_probability_under_the_model(engine: HuggingFaceEngine, folder: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), tiny_tokenizer()
    prompt, response = (
        tokenizer.encode(text, add_special_tokens=False) for text in (f"<|user|>Hi{END}<|assistant|>", f"you{END}")
    )
    logprobs = model(torch.tensor([prompt + response])).logits.log_softmax(-1)[0, len(prompt) - 1 : -1]
    expected = [logprobs[place, token].item() for place, token in enumerate(response)]
    (scored,) = answers(engine, [given_text("Hi", "you")]).values()
    assert close(scored.token_logprobs, expected)
    assert (scored.num_tokens, scored.finish_reason, scored.prompt_tokens) == (4, "stop", len(prompt) + 4)


@pytest.mark.parametrize(("ended", "lengths"), [(True, [1, 3, 6]), (False, [1, 2, 5])])
def test_a_text_that_was_cut_has_no_end(engine: HuggingFaceEngine, ended: bool, lengths: list[int]) -> None:
    found = answers(engine, [given_text("Hi", "x" * n, ended=ended) for n in (0, 2, 5)]).values()
    assert sorted(each.num_tokens or 0 for each in found) == lengths
    (marks,) = answers(engine, [given_text("Hi", END, ended=ended)]).values()
    assert marks.num_tokens == len(END) + ended, "an end token in a text is plain characters"


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 2 * POSITIONS)), max_size=20), st.integers(1, 8))
def test_texts_are_split_once_each_and_into_what_fits(lengths: list[tuple[int, int]], most: int) -> None:
    texts = [Text((0,) * prompt, (0,) * response) for prompt, response in lengths]
    split = list(batches(texts, most))
    assert sorted(chain.from_iterable(split)) == list(range(len(texts)))
    for batch in split:
        longest = max(len(texts[place].response) for place in batch)
        assert len(batch) <= most
        assert len(batch) == 1 or len(batch) * longest <= POSITIONS


def test_keys_and_values_are_those_of_a_cache_that_copies() -> None:
    torch.manual_seed(0)
    ours, theirs = RoomyLayer(), None
    first, _ = ours.update(torch.zeros(4, 2, 5, 8), torch.zeros(4, 2, 5, 8))
    second, _ = ours.update(torch.ones(4, 2, 1, 8), torch.ones(4, 2, 1, 8))
    assert first.data_ptr() == second.data_ptr(), "a token is written without copying the others"
    ours = RoomyLayer()
    for length in (3, 1, 70, 1, 1, 65):
        new = torch.randn(4, 2, length, 8)
        theirs = new if theirs is None else torch.cat([theirs, new], dim=-2)
        keys, values = ours.update(new, -new)
        assert torch.equal(keys, theirs)
        assert torch.equal(values, -theirs)
        rows = torch.randperm(4)
        ours.batch_select_indices(rows)
        theirs = theirs[rows]


def test_layers_that_forget_keep_their_own_cache(folder: Path) -> None:
    config = AutoModelForCausalLM.from_pretrained(folder).config
    assert all(type(layer) is RoomyLayer for layer in roomy_cache(config).layers)
    config.layer_types = ["sliding_attention", "full_attention"]
    config.sliding_window = 8
    sliding, full = roomy_cache(config).layers
    assert not isinstance(sliding, RoomyLayer)
    assert isinstance(full, RoomyLayer)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    count = 10_000
    dice = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    ones = torch.ones(count)

    def shares(temperature: float, top_p: float) -> list[float]:
        drawn = draw(logits.expand(count, 3), ones * temperature, ones * top_p, dice)
        return (drawn.bincount(minlength=3) / count).tolist()

    assert shares(1, 1) == pytest.approx([0.5, 0.3, 0.2], abs=1e-3)
    assert shares(0.5, 1) == pytest.approx([25 / 38, 9 / 38, 4 / 38], abs=1e-3)
    assert shares(1, 0.6) == pytest.approx([0.625, 0.375, 0], abs=1e-3)
    assert shares(0, 1) == [1, 0, 0]
