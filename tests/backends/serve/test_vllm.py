"""Adapters on a real vLLM server, which runs in an environment of its own: ``make test-vllm``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from hyperalign.backends.distill.adapters import Adapter, Verdict, open_adapter, write_adapter
from hyperalign.backends.distill.student import Student
from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.vllm_writer import VLLMWriter
from hyperalign.backends.serve.vllm import VLLMServer, find_vllm_python
from hyperalign.backends.serve.vllm_adapters import VLLMClient, list_models, load_adapter, probe_server, unload_adapter
from hyperalign.cli import app
from hyperalign.errors import InputError, ModelServerError, NotFoundError, TrainingError
from tests.backends.distill.small_students import needs_train
from tests.backends.distill.test_adapters import CARD

needs_vllm = pytest.mark.skipif(
    not os.environ.get("HYPERALIGN_VLLM_PYTHON"), reason="vLLM has an environment of its own: make test-vllm"
)
pytestmark = [needs_train, needs_vllm, pytest.mark.filterwarnings("default")]
KEY = "k" * 24


def made(student: Student, root: Path, name: str, *, seed: int, rank: int = 8) -> Adapter:
    """An adapter whose matrices were drawn, not learned: as good as any other for a server."""
    import peft
    import torch
    import transformers

    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(student.path, dtype=torch.float32)
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    weights = root / f".{name}"
    peft.get_peft_model(model, config).save_pretrained(weights)
    transformers.AutoTokenizer.from_pretrained(student.path).save_pretrained(weights)
    card = CARD.model_copy(
        update={"name": name, "base_sha256": student.sha256, "base": student.name, "gate": Verdict(passed=True)}
    )
    return write_adapter(weights, root / name, card)


def changed(adapter: Adapter, name: str, change: Callable[[Path], None]) -> Adapter:
    """A copy of an adapter with something changed in it, and whole again."""
    weights = adapter.path.parent / f".{name}"
    shutil.copytree(adapter.path, weights)
    change(weights)
    return write_adapter(weights, adapter.path.parent / name, adapter.card.model_copy(update={"name": name}))


def rename_keys(weights: Path) -> None:
    from safetensors.numpy import load_file, save_file

    file = weights / "adapter_model.safetensors"
    save_file({key.replace(".model.layers.", ".body.layers."): value for key, value in load_file(file).items()}, file)


@pytest.fixture(scope="module")
def shelf(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two adapters of SmolLM2."""
    root = tmp_path_factory.mktemp("adapters")
    made(student, root, "one", seed=1)
    made(student, root, "two", seed=2)
    return root


@pytest.fixture(scope="module")
def running(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMClient]:
    """``hyperalign serve --engine vllm`` over them, as a user starts it."""
    from tests.conftest import _USER_CACHE

    log = tmp_path_factory.mktemp("serve") / "said.txt"
    command = [str(Path(sys.executable).parent / "hyperalign"), "serve", "--adapters", str(shelf)]
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*command, "--engine", "vllm", "--port", "0"],
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HYPERALIGN_SERVE_KEY": KEY, "HYPERALIGN_CACHE": str(_USER_CACHE)},
        )
    try:
        deadline = time.monotonic() + 600
        while "Serving at" not in (text := log.read_text(encoding="utf-8")):
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.5)
        address = text.split("Serving at ")[1].split(";")[0]
        yield VLLMClient(address, KEY)
    finally:
        # As a service manager ends it.
        process.terminate()
        process.wait(60)
    assert "Ended." in log.read_text(encoding="utf-8")
    with pytest.raises(ModelServerError):
        list_models(VLLMClient(address, KEY))


@pytest.fixture(autouse=True)
def asked_there(running: VLLMClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERALIGN_ADAPTERS", running.address)
    monkeypatch.setenv("HYPERALIGN_SERVE_KEY", running.key)


def test_two_adapters_answer_differently_by_name(running: VLLMClient, shelf: Path) -> None:
    base, names = list_models(running)
    assert names == [open_adapter(shelf / name).served_name for name in ("one", "two")]
    said = [connect(f"adapter:{name}", max_tokens=12, temperature=0.0)("How are you?")[0] for name in ("one", "two")]
    plain = httpx.post(
        f"{running.address}/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        json={"model": base, "messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 12},
        timeout=60,
    ).json()["choices"][0]["message"]["content"]
    assert len({*said, plain}) == 3, said
    assert probe_server(running, *names).difference > 0.01
    assert probe_server(running, base, base).difference == 0


def test_an_answer_is_continued_in_several_ways(running: VLLMClient) -> None:
    base, _ = list_models(running)
    with VLLMWriter(running.address, base, api_key=KEY) as writer:
        session = writer.open([{"role": "user", "content": "How are you?"}], seed=3)
        first, *drawn = session.branch(4, 12, temperature=1.0)
        assert len({first.text, *(each.text for each in drawn)}) > 1
        session.keep(0)
        (rest,) = session.branch(1, 12, temperature=0)
        (whole,) = writer.open([{"role": "user", "content": "How are you?"}]).branch(1, 24, temperature=0)
        assert whole.text.startswith(first.text)
        # In 16 bits a near tie may fall otherwise where a prompt is read in other pieces: not at once, and not always.
        assert whole.text.startswith(first.text + rest.text[:10])


def test_nobody_is_served_without_the_key(running: VLLMClient) -> None:
    with pytest.raises(ModelServerError, match="HYPERALIGN_SERVE_KEY"):
        list_models(VLLMClient(running.address))
    root = running.address.removesuffix("/v1")
    assert httpx.get(f"{root}/health", timeout=60).is_success
    # Also at the paths that vLLM's own key leaves open.
    body = {"model": list_models(running)[0], "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    for path in ("/invocations", "/tokenize", "/adapters", "/v1/load_lora_adapter"):
        for key in ("", "Bearer wrong"):
            said = httpx.post(f"{root}{path}", json=body, headers={"Authorization": key}, timeout=60)
            assert said.status_code == 401, (path, said.text)
    assert httpx.delete(f"{root}/adapters/one", timeout=60).status_code == 401
    allowed = httpx.post(f"{root}/invocations", json=body, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
    assert allowed.is_success


def test_an_adapter_comes_and_goes_while_the_server_runs(running: VLLMClient, shelf: Path, student: Student) -> None:
    three = made(student, shelf.parent / "more", "three", seed=3)
    runner = CliRunner()
    loaded = runner.invoke(app, ["adapters", "load", str(three.path)])
    assert loaded.exit_code == 0, loaded.output
    assert f"Served as {three.served_name}" in loaded.output
    assert three.served_name in list_models(running)[1]
    assert connect("adapter:three", max_tokens=4)("Hi")
    anew = made(student, shelf.parent / "anew", "three", seed=5)
    load_adapter(running, anew)
    names = list_models(running)[1]
    assert anew.served_name in names
    assert three.served_name not in names, "the one that was loaded last is the one that is meant by the name"
    gone = runner.invoke(app, ["adapters", "unload", "three"])
    assert gone.exit_code == 0, gone.output
    assert anew.served_name not in list_models(running)[1]
    with pytest.raises(NotFoundError, match="No adapter 'three' is served"):
        unload_adapter(running, "three")


def test_an_adapter_with_wrong_keys_is_caught(running: VLLMClient, shelf: Path) -> None:
    wrong = changed(open_adapter(shelf / "one"), "wrong-keys", rename_keys)
    with pytest.raises(TrainingError, match=r"changes nothing in .*: it was unloaded"):
        load_adapter(running, wrong)
    assert wrong.served_name not in list_models(running)[1]


def test_what_does_not_fit_is_refused_with_its_reason(running: VLLMClient, shelf: Path, student: Student) -> None:
    large = made(student, shelf.parent / "large", "large", seed=4, rank=64)
    with pytest.raises(TrainingError, match=r"(?s)rank 64 is greater.*room for its rank"):
        load_adapter(running, large)
    torn = changed(
        open_adapter(shelf / "one"), "torn", lambda weights: (weights / "adapter_model.safetensors").write_bytes(b"x")
    )
    with pytest.raises(TrainingError, match="can't load the adapter torn"):
        load_adapter(running, torn)
    template = "{% for turn in messages %}{{ turn.content }}{% endfor %}"
    otherwise = changed(
        open_adapter(shelf / "one"), "otherwise", lambda weights: (weights / "chat_template.jinja").write_text(template)
    )
    with pytest.raises(TrainingError, match="otherwise was trained with another chat template"):
        load_adapter(running, otherwise)
    other = Adapter(large.path, large.card.model_copy(update={"base_sha256": "0" * 64}), large.sha256)
    with pytest.raises(InputError, match="The server's base is"):
        load_adapter(running, other)
    assert len(list_models(running)[1]) == 2, "and the others are still there"


def test_a_base_that_vllm_can_not_read_is_told_from_its_log(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-model"}), encoding="utf-8")
    with pytest.raises(
        ModelServerError, match=r"(?s)vLLM ended with exit code \d+. The end of its log:.*no-such-model"
    ):
        VLLMServer(find_vllm_python(), tmp_path, "base", port=0).__enter__()
