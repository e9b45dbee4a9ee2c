"""Server programs are started, waited for, asked, and ended with this process, however that ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import pytest

from tests.tiny import save_tiny_model
from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Engine, Journal, Request
from tunalm.engines.served.children import Children
from tunalm.errors import EngineError
from tunalm.recipe import VllmSettings
from tunalm.records import Message

ROOT = Path(__file__).resolve().parents[3]
COMMAND = f"{sys.executable} {ROOT}/tests/integration/servers/child.py {{port}} {{model}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("a model"))


def engine(folder: Path, how: str = "", **changes: object) -> Engine:
    values = {"model": str(folder), "command": f"{COMMAND} {how}", "start_timeout": 20, **changes}
    return open_engine(VllmSettings.model_validate(values))


def request(key: str, content: str = "Say.", **changes: object) -> Request:
    return Request.model_validate({"key": key, "messages": [Message(role="user", content=content)], **changes})


def answers(engine: Engine, *requests: Request) -> dict[str, Completion]:
    found = chain.from_iterable(engine.generate(engine.batches(requests), Journal()))
    return {completion.key: completion for completion in found}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def pids(children: Children) -> list[int]:
    return [int(word) for server in children._servers for word in server.last_lines().split() if word.isdigit()]


def test_every_copy_is_asked_and_requests_with_one_prompt_go_to_the_same(folder: Path) -> None:
    asked = [request(f"{prompt}/{seed}", f"Say {prompt}.", seed=seed) for prompt in range(12) for seed in range(3)]
    got = answers(engine(folder, replicas=2), *asked)
    ports = {key: json.loads(completion.text)[0] for key, completion in got.items()}
    assert len(set(ports.values())) == 2
    assert all(len({ports[f"{prompt}/{seed}"] for seed in range(3)}) == 1 for prompt in range(12))
    assert [json.loads(got[f"3/{seed}"].text)[1] for seed in range(3)] == [0, 1, 2]


def test_each_copy_has_accelerators_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    asked = [request(str(number), f"Say {number}.") for number in range(20)]
    got = answers(engine(folder, tensor_parallel=2), *asked)
    assert {json.loads(completion.text)[3] for completion in got.values()} == {"4,5", "6,7"}
    with pytest.raises(EngineError, match="3 servers with 2 accelerators each, on a machine with 4"):
        answers(engine(folder, tensor_parallel=2, replicas=3), *asked)


def test_answers_and_given_responses_are_those_of_the_tokens_that_the_model_reads(folder: Path) -> None:
    made = engine(folder)
    assert made.capabilities.scores
    assert made.capabilities.raw
    (sampled,) = answers(made, request("a", logprobs=True, seed=7, max_new_tokens=99)).values()
    assert (sampled.token_logprobs, sampled.finish_reason) == ([-1.0, -2.0], "stop")
    assert sampled.model == f"served/{folder}"
    assert json.loads(sampled.text)[2] == 99
    assert json.loads(sampled.text)[4], "the tokens that end a response"
    question = [Message(role="user", content="Say.")]
    ended, cut = (Request.to_score(question, "Green.", ended=ended) for ended in (True, False))
    got = answers(made, ended, cut)
    whole, part = got[ended.key].token_logprobs or [], got[cut.key].token_logprobs or []
    assert whole[:-1] == part
    assert got[ended.key].text == "Green."


def test_what_is_too_long_fails_alone_and_room_is_what_there_is(folder: Path) -> None:
    got = answers(engine(folder, "64"), request("long", "word " * 200), request("short", max_new_tokens=500))
    assert (got["long"].failure or "").startswith("too long: the model takes 64 tokens")
    assert 0 < json.loads(got["short"].text)[2] < 64


@pytest.mark.parametrize(
    ("how", "said"),
    [("dies", r"ended with status 1 .*no such model: \[key\]"), ("deaf", r"did not answer in 1 seconds \(pids")],
)
def test_a_server_that_does_not_start_is_an_error_with_its_last_words(folder: Path, how: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        answers(engine(folder, how, start_timeout=20 if how == "dies" else 1), request("a"))


def test_a_server_that_ends_in_the_middle_is_an_error_with_its_last_words(folder: Path) -> None:
    made = engine(folder, "mortal")
    made._settings.batch_size = 1  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match=r"ended with status 7 .*CUDA out of memory"):
        answers(made, *(request(str(number), f"Say {number}.") for number in range(40)))


def test_servers_end_with_their_workers_when_nobody_needs_them(folder: Path) -> None:
    children = Children("here", [COMMAND.replace("{model}", "m")] * 2, [{}, {}], 20)
    running = pids(children)
    assert len(running) == 4
    assert all(map(alive, running))
    del children
    assert gone(running)


CLIENT = """
import os, sys, time
from tunalm.engines.served.children import Children
children = Children("here", [sys.argv[1]], [{}], 20)
print(children._servers[0].last_lines(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_their_workers_when_we_are_killed(number: signal.Signals) -> None:
    command = COMMAND.replace("{model}", "m")
    with subprocess.Popen([sys.executable, "-c", CLIENT, command], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        running = [int(word) for word in client.stdout.readline().split() if word.isdigit()]
        assert len(running) == 2
        assert all(map(alive, running))
        os.kill(client.pid, number)
        assert gone(running)


def test_without_vllm_the_way_out_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineError, match=r"pip install vllm.*kind: huggingface"):
        open_engine(VllmSettings(model=str(folder)))
