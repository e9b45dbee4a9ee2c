"""A model whose files do not fit together is refused in one line, before and while it is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM, LlamaModel

from tests.tiny import save_tiny_model, save_tiny_scorer, tiny_tokenizer
from tunalm.engines.huggingface import check_model, load_model, load_scorer, load_tokenizer
from tunalm.errors import ModelError

QUESTION = torch.tensor([[1, 2, 3, 4]])
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def without(folder: Path, part: str) -> None:
    path = folder / "model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if part not in name}, path, {"format": "pt"})


def configured(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def with_more_tokens(folder: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["zebrafish", "<TOOL>"])
    tokenizer.save_pretrained(folder)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no head": (lambda folder: without(folder, "lm_head"), "lack lm_head.weight"),
    "no layer": (lambda folder: without(folder, "layers.1."), r"lack model\.layers\.1\.\S+, .* and 6 more tensors"),
    "a layer too many": (lambda folder: configured(folder, num_hidden_layers=1), r"have model\.layers\.1\."),
    "other shapes": (
        lambda folder: configured(folder, intermediate_size=48),
        r"another shape .*x64, not \d+x48\)",
    ),
    "saved without its head": (lambda folder: LlamaModel.from_pretrained(folder).save_pretrained(folder), "lm_head"),
    "weights cut": (lambda folder: cut(folder / "model.safetensors"), "cut short or broken"),
    "weights empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "an empty file"),
    "weights not fetched": (lambda folder: (folder / "model.safetensors").write_bytes(LFS), "git lfs pull"),
    "tokenizer not fetched": (lambda folder: (folder / "tokenizer.json").write_bytes(LFS), "git lfs pull"),
    "tokenizer cut": (lambda folder: cut(folder / "tokenizer.json"), "not JSON"),
    "config cut": (lambda folder: cut(folder / "config.json"), "not JSON"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no file named model.safetensors"),
    "gptq": (lambda folder: configured(folder, quantization_config={"quant_method": "gptq", "bits": 4}), "gptq"),
    "bitsandbytes": (
        lambda folder: configured(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        r"quantised model \(bitsandbytes\)",
    ),
    "tokens without an embedding": (with_more_tokens, "2 tokens .* no embedding, the first 'zebrafish'"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_folder_whose_files_do_not_fit_is_refused_in_one_line(fault: str, folder: Path) -> None:
    spoil, said = BROKEN[fault]
    spoil(folder)
    for load in (check_model, partial(load_model, precision="fp32")):
        with pytest.raises(ModelError, match=said) as caught:
            load(str(folder))
        assert "\n" not in str(caught.value)


def test_a_proxy_and_its_start_lack_nothing_but_the_head(whole: Path, folder: Path, tmp_path: Path) -> None:
    check_model(str(whole), "start of a proxy")
    assert load_scorer(str(whole), trained=False).score.out_features == 1
    with pytest.raises(ModelError, match="not trained to score"):
        check_model(str(whole), "proxy")
    proxy = save_tiny_scorer(tmp_path / "proxy", whole, 64)
    check_model(str(proxy), "proxy")
    with pytest.raises(ModelError, match=r"lm_head\.weight"):
        check_model(str(proxy))
    for role in ("proxy", "start of a proxy"):
        without(proxy, "layers.1.")
        with pytest.raises(ModelError, match=r"lack model\.layers\.1\."):
            check_model(str(proxy), role)


def test_weights_that_are_tied_and_a_token_for_padding_alone_are_no_fault(tmp_path: Path) -> None:
    tied = save_tiny_model(tmp_path, tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(tied / "model.safetensors")
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(tied)
    check_model(str(tied))
    model = load_model(str(tied), precision="bf16")
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert model.dtype == torch.bfloat16


def save_adapter(base: Path, folder: Path) -> Path:
    torch.manual_seed(1)
    model = get_peft_model(
        LlamaForCausalLM.from_pretrained(base), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    model.save_pretrained(str(folder))
    return folder


def test_a_lora_folder_is_its_model_with_the_adapters_merged(whole: Path, tmp_path: Path) -> None:
    adapter = save_adapter(whole, tmp_path / "adapter")
    check_model(str(adapter))
    merged, plain = load_model(str(adapter), precision="fp32"), load_model(str(whole), precision="fp32")
    expected: Any = AutoModelForCausalLM.from_pretrained(adapter)  # by transformers: adapters beside the weights
    with torch.no_grad():
        assert torch.allclose(merged(QUESTION).logits, expected(QUESTION).logits, atol=1e-4)
        assert not torch.allclose(merged(QUESTION).logits, plain(QUESTION).logits, atol=1e-2)
    assert load_tokenizer(str(adapter)).encode("a") == load_tokenizer(str(whole)).encode("a")


def test_adapters_that_are_not_whole_or_have_lost_their_model_are_refused(folder: Path, tmp_path: Path) -> None:
    adapter = save_adapter(folder, tmp_path / "adapter")
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(dict(list(weights.items())[1:]), adapter / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="a LoRA adapter that cannot be loaded"):
        load_model(str(adapter), precision="fp32")
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="which is no folder"):
        check_model(str(adapter))
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | {"base_model_name_or_path": None}))
    with pytest.raises(ModelError, match="do not name their model"):
        check_model(str(adapter))


def test_a_difference_of_weights_is_refused_by_its_name() -> None:
    with pytest.raises(ModelError, match="difference of weights to another model"):
        check_model("tatsu-lab/alpaca-farm-ppo-sim-wdiff")
