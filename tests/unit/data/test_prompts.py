"""Which ids a model reads and which it learns, to the token."""

from __future__ import annotations

import hashlib
from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tunalm.data.prompts import PromptEncoder, pin_day
from tunalm.errors import ModelError
from tunalm.recipe import PromptTemplate
from tunalm.records import Message

CHAT = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system message') }}{% endif %}" + CHAT
MARKS = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
LINES = ["### Response:Yes, it is.", "### Response:No, it is not.", "<|assistant|>\nYes, it is."] * 3

ALPACA_WITHOUT_INPUT = (
    b"Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    b"### Instruction:\nName a colour.\n\n### Response:"
)
ALPACA_WITH_INPUT = (
    b"Below is an instruction that describes a task, paired with an input that provides further context. "
    b"Write a response that appropriately completes the request.\n\n"
    b"### Instruction:\nTranslate to French.\n\n### Input:\nGood morning\n\n### Response:"
)


def wrapped(core: Tokenizer, **marks: str | None) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=core, **marks)


def make_tokenizer(
    template: str | None = CHAT, *, bos: bool = True, eos: str | None = "</s>", special: bool = True
) -> PreTrainedTokenizerFast:
    """A byte-level BPE whose merges may cross anything; it begins every text with BOS, and pads with EOS."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    core.add_special_tokens(["<s>", "</s>"])
    core.add_tokens([AddedToken(mark, special=special) for mark in MARKS])
    if bos:
        pieces = {"single": "<s> $A", "pair": "<s> $A $B", "special_tokens": [("<s>", core.token_to_id("<s>"))]}
        core.post_processor = processors.TemplateProcessing(**pieces)
    tokenizer = wrapped(core, bos_token="<s>" if bos else None, eos_token=eos, pad_token=eos)
    tokenizer.chat_template = template
    return tokenizer


TOKENIZER = make_tokenizer()
CHAT_ENCODER = PromptEncoder(TOKENIZER, "chat", "tiny")
ALPACA_ENCODER = PromptEncoder(TOKENIZER, "alpaca", "tiny")
ENCODERS = st.sampled_from([CHAT_ENCODER, ALPACA_ENCODER])
# U+F0000 and U+F0001 are left out: transformers uses them as marks inside a prompt and drops them.
PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="\U000f0000\U000f0001"), max_size=20)
HOSTILE = st.lists(st.sampled_from(["<s>", "</s>", *MARKS, "Yes", "\n", "###", "<|", "|>"]) | PLAIN, max_size=8).map(
    "".join
)


def user(content: str, text: str = "") -> Message:
    return Message(role="user", content=content, input=text)


def assistant(content: str) -> Message:
    return Message(role="assistant", content=content)


def decoded(ids: list[int]) -> str:
    return str(TOKENIZER.decode(ids))


def marks_in(ids: list[int]) -> list[str]:
    return [TOKENIZER.convert_ids_to_tokens([token])[0] for token in ids if token in TOKENIZER.added_tokens_decoder]


def alpaca_text(*messages: Message) -> str:
    """The Alpaca prompt of a tokenizer that puts no BOS in front."""
    tokenizer = make_tokenizer(None, bos=False)
    return str(tokenizer.decode(PromptEncoder(tokenizer, "alpaca", "tiny").prompt_ids(messages)))


def test_the_alpaca_prompt_is_the_published_one_to_the_byte() -> None:
    assert alpaca_text(user("Name a colour.")).encode() == ALPACA_WITHOUT_INPUT
    assert alpaca_text(user("Translate to French.", "Good morning")).encode() == ALPACA_WITH_INPUT


@settings(deadline=None)
@given(PLAIN, PLAIN)
@example(" {{ bos_token }}\n\n", "{% for %}")
def test_the_alpaca_prompt_changes_nothing_in_a_text(instruction: str, text: str) -> None:
    golden = ALPACA_WITH_INPUT.decode() if text else ALPACA_WITHOUT_INPUT.decode()
    begin, end = golden.index("### Instruction:\n") + 17, golden.index("\n\n### ", golden.index("### Instruction:"))
    expected = golden[:begin] + instruction + golden[end:]
    expected = expected.replace("\n\n### Input:\nGood morning", f"\n\n### Input:\n{text}") if text else expected
    assert decoded(ALPACA_ENCODER.prompt_ids([user(instruction, text)])) == "<s>" + expected


def test_later_turns_of_an_alpaca_conversation_have_no_preamble() -> None:
    turns = [
        Message(role="system", content="Be short."),
        user("Translate to French.", "Good morning"),
        assistant("Bonjour"),
        user("Name a colour."),
        assistant("Red"),
        user("And another.", "not blue"),
    ]
    assert alpaca_text(*turns) == (
        "Be short.\n\n"
        + ALPACA_WITH_INPUT.decode()
        + "Bonjour</s>\n\n### Instruction:\nName a colour.\n\n### Response:Red</s>\n\n"
        + "### Instruction:\nAnd another.\n\n### Input:\nnot blue\n\n### Response:"
    )


def test_the_saved_alpaca_template_takes_plain_messages_of_other_programs() -> None:
    text = TOKENIZER.apply_chat_template(
        [{"role": "user", "content": "Name a colour."}],
        chat_template=ALPACA_ENCODER.template_text,
        add_generation_prompt=True,
        tokenize=False,
    )
    assert text == "<s>" + ALPACA_WITHOUT_INPUT.decode()


def test_a_model_that_was_trained_with_alpaca_prompts_gives_the_same_ids_as_a_chat_model() -> None:
    saved = make_tokenizer(ALPACA_ENCODER.template_text)
    again = PromptEncoder(saved, "chat", "saved")
    turns = [user("a", "b"), assistant("c"), user("d")]
    assert again.prompt_ids(turns) == ALPACA_ENCODER.prompt_ids(turns)
    assert (again.sha256, again.stop_ids) == (ALPACA_ENCODER.sha256, ALPACA_ENCODER.stop_ids)


def test_a_chat_prompt_is_what_the_template_writes() -> None:
    turns = [Message(role="system", content="Be short."), user("Hi.", "there"), assistant("Yes"), user("Again.")]
    assert decoded(CHAT_ENCODER.prompt_ids(turns)) == (
        "<s><|system|>\nBe short.<|end|>\n<|user|>\nHi.\n\nthere<|end|>\n<|assistant|>\nYes<|end|>\n"
        "<|user|>\nAgain.<|end|>\n<|assistant|>\n"
    )


@settings(deadline=None)
@given(ENCODERS, HOSTILE)
@example(ALPACA_ENCODER, "Yes, it is.")
def test_a_response_gives_itself_and_the_end_token_in_any_context(encoder: PromptEncoder, text: str) -> None:
    ids = encoder.response_ids(text)
    assert ids[-1] == encoder.end_id
    assert marks_in(ids) == marks_in([encoder.end_id])
    assert decoded(ids[:-1]) == text, "without BOS, which this tokenizer puts before any text"


def test_a_response_is_not_merged_with_the_prompt_where_one_text_would_be() -> None:
    prompt, response = ALPACA_ENCODER.prompt_ids([user("Is it?")]), ALPACA_ENCODER.response_ids("Yes, it is.")
    in_one_text = TOKENIZER.encode(decoded(prompt) + "Yes, it is.", add_special_tokens=False)
    assert in_one_text[: len(prompt)] != prompt
    assert decoded(prompt).endswith("### Response:")
    assert decoded(response) == "Yes, it is.</s>"


@settings(deadline=None)
@given(ENCODERS, HOSTILE, HOSTILE, HOSTILE)
def test_no_text_forges_a_mark_in_a_prompt(encoder: PromptEncoder, system: str, first: str, second: str) -> None:
    def prompt(*texts: str) -> list[int]:
        roles = ("system", "user", "assistant", "user")
        turns = [
            Message.model_validate({"role": role, "content": text}) for role, text in zip(roles, texts, strict=True)
        ]
        turns[-1].input = texts[-1]
        return encoder.prompt_ids(turns)

    ids = prompt(system, first, second, first)
    assert marks_in(ids) == marks_in(prompt("", "a", "a", "a"))
    assert [place for place, token in enumerate(ids) if token == TOKENIZER.bos_token_id] == [0]
    for text in (system, first, second):
        assert text in decoded(ids)


def test_marks_that_the_tokenizer_does_not_call_special_are_not_forged_either() -> None:
    tokenizer = make_tokenizer(special=False)
    encoder = PromptEncoder(tokenizer, "chat", "tiny")
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert encoder.stop_ids == (end, tokenizer.eos_token_id)
    assert [token for token in encoder.prompt_ids([user("a<|end|>b")]) if token == end] == [end]
    assert encoder.response_ids("a<|end|>b</s>")[-1:] == [end]
    assert end not in encoder.response_ids("a<|end|>b</s>")[:-1]


ENDLESS = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


@pytest.mark.parametrize(
    ("chat", "eos", "template", "stops"),
    [
        (CHAT, "</s>", "chat", ["<|end|>", "</s>"]),
        (CHAT, "</s>", "alpaca", ["</s>"]),
        (CHAT, None, "chat", ["<|end|>"]),
        (ENDLESS, "</s>", "chat", ["</s>"]),
    ],
)
def test_a_turn_ends_with_what_the_template_writes_else_with_eos_where_sampling_stops_too(
    chat: str, eos: str | None, template: PromptTemplate, stops: list[str]
) -> None:
    tokenizer = make_tokenizer(chat, eos=eos)
    encoder = PromptEncoder(tokenizer, template, "tiny")
    assert tokenizer.convert_ids_to_tokens(list(encoder.stop_ids)) == stops
    ends = [place for place, token in enumerate(encoder.response_ids("Yes")) if token == encoder.end_id]
    assert ends == [len(encoder.response_ids("Yes")) - 1], "learned, also where padding is the same token"


def test_a_tokenizer_that_spells_its_end_token_from_letters_does_not_meet_it_in_a_response() -> None:
    letters = [(letter, -3.0) for letter in sorted(set(ALPACA_WITH_INPUT.decode()) | set("</s>"))]
    core = Tokenizer(models.Unigram([("<unk>", 0.0), ("</s>", -1.0), *letters], unk_id=0))
    encoder = PromptEncoder(wrapped(core, eos_token="</s>", unk_token="<unk>"), "alpaca", "tiny")
    ids = encoder.response_ids("a</s>b</s>")
    assert [place for place, token in enumerate(ids) if token == encoder.end_id] == [len(ids) - 1]
    assert encoder.tokenizer.convert_ids_to_tokens(ids[:-1]) == list("a</s>b</s>")
    with pytest.raises(ModelError, match=r"^tiny: .*Can't sanitize '</s>'"):
        encoder.prompt_ids([user("a</s>b")])


def test_the_hash_is_that_of_the_template() -> None:
    assert CHAT_ENCODER.template_text == CHAT
    assert CHAT_ENCODER.sha256 == hashlib.sha256(CHAT.encode()).hexdigest()
    assert CHAT_ENCODER.sha256 != ALPACA_ENCODER.sha256


def refusal(tokenizer: PreTrainedTokenizerFast, *messages: Message) -> str:
    with pytest.raises(ModelError) as caught:
        PromptEncoder(tokenizer, "chat", "some/model").prompt_ids(messages)
    line = str(caught.value)
    assert line.startswith("some/model: ")
    assert "\n" not in line
    return line


def test_a_model_without_a_chat_template_is_one_line_and_alpaca_works() -> None:
    tokenizer = make_tokenizer(None)
    assert "without a chat template" in refusal(tokenizer)
    assert "template: alpaca" in refusal(tokenizer)
    assert PromptEncoder(tokenizer, "alpaca", "tiny").prompt_ids([user("Hi.")])


def test_a_raw_prompt_is_the_instruction_alone() -> None:
    encoder = PromptEncoder(make_tokenizer(None), "raw", "tiny")
    assert decoded(encoder.prompt_ids([user("Name a colour.\n", "not red")])) == "<s>Name a colour.\n\n\nnot red"
    assert encoder.prompt_ids([user("Q: one? A:")]) == encoder.text_ids("Q: one? A:")
    turns = [Message(role="system", content="Be short."), user("One?"), assistant("1"), user("Two?")]
    assert decoded(encoder.prompt_ids(turns)) == "<s>Be short.\n\nOne?\n\n1</s>\n\nTwo?"
    again = PromptEncoder(make_tokenizer(encoder.template_text), None, "saved")
    assert again.prompt_ids(turns) == encoder.prompt_ids(turns), "a model that was trained raw is asked raw"


THINKS = CHAT.replace(
    "<|assistant|>\n{% endif %}",
    "<|assistant|>\n{% if think is defined and not think %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
).replace(
    "\n{{ message['content'] }}",
    "\n{% if message['role'] == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ message['content'] }}",
)


def test_an_argument_of_the_template_is_a_default_of_the_template_that_is_saved() -> None:
    tokenizer = make_tokenizer(THINKS)
    plain, quiet = (PromptEncoder(tokenizer, None, "tiny", given) for given in ({}, {"think": False}))
    assert decoded(plain.prompt_ids([user("Hi.")])).endswith("<|assistant|>\n")
    assert decoded(quiet.prompt_ids([user("Hi.")])).endswith("<|assistant|>\n<think>\n\n</think>\n\n")
    saved = make_tokenizer(quiet.template_text)
    assert PromptEncoder(saved, None, "saved").prompt_ids([user("Hi.")]) == quiet.prompt_ids([user("Hi.")])
    anew = PromptEncoder(saved, None, "saved", {"think": True})
    assert anew.prompt_ids([user("Hi.")]) == plain.prompt_ids([user("Hi.")])
    with pytest.raises(ModelError, match="does not read 'thinking'"):
        PromptEncoder(tokenizer, None, "tiny", {"thinking": False})


def test_a_response_is_learned_with_what_the_template_writes_before_it() -> None:
    """Generation has to write that: a space, or thoughts that are empty, unless they stand in the prompt already."""
    tokenizer = make_tokenizer(THINKS)
    plain, quiet = (PromptEncoder(tokenizer, None, "tiny", given) for given in ({}, {"think": False}))
    assert decoded(plain.response_ids("Yes")) == "<think>\n\n</think>\n\nYes<|end|>"
    assert decoded(quiet.response_ids("Yes")) == "Yes<|end|>"
    spaced = "{% for message in messages %}{% if message['role'] == 'user' %}Q:{{ message['content'] }} A:{% else %}"
    spaced += " {{ message['content'] }}</s>{% endif %}{% endfor %}"
    encoder = PromptEncoder(make_tokenizer(spaced), None, "tiny")
    whole = encoder.tokenizer.encode("Q:Is it? A: Yes</s>", add_special_tokens=False)
    assert [*encoder.prompt_ids([user("Is it?")]), *encoder.response_ids("Yes")] == whole


def test_a_prompt_that_opens_thoughts_has_them_closed_before_a_response_is_learned() -> None:
    opens = CHAT.replace("<|assistant|>\n{% endif %}", "<|assistant|>\n<think>\n{% endif %}")
    encoder = PromptEncoder(make_tokenizer(opens), None, "tiny")
    assert encoder.opens_thoughts
    ids = [*encoder.prompt_ids([user("Hi.")]), *encoder.response_ids("Yes")]
    assert decoded(ids).endswith("<|assistant|>\n<think>\n\n</think>\n\nYes<|end|>")


def test_a_tokenizer_that_begins_every_text_with_a_space_does_not_get_another() -> None:
    core = Tokenizer(
        models.Unigram([("<unk>", 0.0), *((letter, -3.0) for letter in sorted(set("QA:Isityeslor▁ ak.")))], 0)
    )
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    core.decoder = decoders.Metaspace(prepend_scheme="always")
    core.add_special_tokens(["[A]", "</s>"])
    tokenizer = wrapped(core, eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'user' %}{{ message['content'] }}[A]{% else %}"
        " {{ message['content'] }}</s>{% endif %}{% endfor %}"
    )
    encoder = PromptEncoder(tokenizer, None, "tiny")
    assert encoder.lead == ""
    assert tokenizer.convert_ids_to_tokens(encoder.response_ids("yes")) == ["▁", "y", "e", "s", "</s>"]


@pytest.mark.parametrize(
    ("template", "eos", "said"),
    [
        *((text, "</s>", "chat template") for text in ("{% for", "{{ messages[0].content | no_such_filter }}")),
        *((text, "</s>", "chat template") for text in ("{{ 1 / 0 }}", "{{ messages + 1 }}", "{{ nothing.at.all }}")),
        (ENDLESS, None, "without an EOS token"),
    ],
)
def test_a_broken_template_and_one_that_nothing_ends_are_one_line(template: str, eos: str | None, said: str) -> None:
    assert said in refusal(make_tokenizer(template, eos=eos), user("Hi."))


def test_a_template_that_refuses_a_system_message_is_one_line() -> None:
    tokenizer = make_tokenizer(NO_SYSTEM)
    line = refusal(tokenizer, Message(role="system", content="Be short."), user("Hi."))
    assert "(system, user)" in line
    assert "No system message" in line
    assert PromptEncoder(tokenizer, "chat", "tiny").prompt_ids([user("Hi.")])


@pytest.mark.slow
@pytest.mark.parametrize("template", ["chat", "alpaca"])
def test_smollm2(template: str) -> None:
    from tunalm.engines.huggingface import load_tokenizer

    tokenizer = load_tokenizer("embedded:smollm2")
    encoder = PromptEncoder(tokenizer, "alpaca" if template == "alpaca" else "chat", "embedded:smollm2")
    ids = encoder.prompt_ids([Message(role="system", content="Be short."), user("a<|im_end|><|im_start|>b", "c")])
    golden = {
        "chat": "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\na<|im_end|><|im_start|>b\n\nc<|im_end|>\n"
        "<|im_start|>assistant\n",
        "alpaca": "Be short.\n\n"
        + ALPACA_WITH_INPUT.decode()
        .replace("Translate to French.", "a<|im_end|><|im_start|>b")
        .replace("Good morning", "c"),
    }
    assert tokenizer.decode(ids) == golden[template]
    end, start = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|im_start|>"])
    assert (ids.count(end), ids.count(start)) == ((2, 3) if template == "chat" else (0, 0))
    assert encoder.stop_ids == (end,)
    assert encoder.response_ids("x<|im_end|>").count(end) == 1


def test_a_template_that_writes_the_date_writes_that_of_the_run() -> None:
    tokenizer = make_tokenizer("{{ 'Today: ' + strftime_now('%d %b %Y') + ', it is ' + strftime_now(\"%Y\") }}" + CHAT)
    pin_day(date(2024, 7, 26))
    try:
        pinned = PromptEncoder(tokenizer, None, "tiny")
    finally:
        pin_day(None)
    assert decoded(pinned.prompt_ids([user("Hi.")])).startswith("Today: 26 Jul 2024, it is 2024<s>")
    today = decoded(PromptEncoder(tokenizer, None, "tiny").prompt_ids([user("Hi.")]))
    assert "26 Jul 2024" not in today
