"""Adapters behind OpenAI's wire: the wire on voices of one line each, and the real SmolLM2 with a real adapter."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from hyperalign.backends.runtimes.connect import connect
from hyperalign.backends.serving.choose import choose_adapters
from hyperalign.backends.serving.voices import Asked, Said, Voices
from hyperalign.backends.serving.wire import Speaks, listen
from hyperalign.backends.training.adapters import Card, Verdict, open_adapter, recard, seal
from hyperalign.backends.training.student import Student
from hyperalign.errors import InputError, ModelServerError, NotFoundError, TrainingError, UnknownModelError

from ..training.sailor import needs_train, trained
from ..training.test_adapters import CARD


class Echo:
    """Says back what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    @property
    def names(self) -> list[str]:
        return ["base-0", "letters-1a2b3c4d"]

    def answer(self, asked: Asked) -> Said:
        if asked.model not in self.names:
            raise NotFoundError(f"There is no model {asked.model!r} here.")
        self.asked.append(asked)
        return Said(f"{asked.model}: {asked.messages[-1]['content']}", 3, 2, cut=False)


@contextmanager
def listening(speaks: Speaks, key: str = "") -> Iterator[str]:
    server = listen(speaks, port=0, key=key)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def chat(**changed: object) -> dict[str, object]:
    return {"model": "base-0", "messages": [{"role": "user", "content": "Hi"}], **changed}


# The wire


def test_a_connected_model_asks_it_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = Echo()
    with listening(echo) as address:
        monkeypatch.setenv("HYPERALIGN_ADAPTERS", address)
        lm = connect("adapter:letters", max_tokens=20, temperature=0.5)
        assert lm("Hello?") == ["letters-1a2b3c4d: Hello?"]
        assert (echo.asked[0].max_tokens, echo.asked[0].temperature) == (20, 0.5)
        assert lm.scorer() is None
        with pytest.raises(UnknownModelError, match="No adapter 'lettres' is served"):
            connect("adapter:lettres")
    with pytest.raises(ModelServerError, match="hyperalign serve"):
        connect("adapter:letters")


def test_requests_good_and_bad() -> None:
    with listening(Echo()) as address, httpx.Client(base_url=address) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert [m["id"] for m in client.get("/v1/models").json()["data"]] == ["base-0", "letters-1a2b3c4d"]
        good = client.post("/v1/chat/completions", json=chat()).json()
        assert good["choices"][0]["message"]["content"] == "base-0: Hi"
        assert good["choices"][0]["finish_reason"] == "stop"
        assert good["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        streamed = client.post("/v1/chat/completions", json=chat(stream=True)).text
        assert "base-0: Hi" in streamed
        assert streamed.endswith("data: [DONE]\n\n")
        for body, status, said in (
            (chat(model="x"), 404, "no model 'x'"),
            (chat(messages=[]), 400, "messages"),
            (chat(messages=[{"role": "tool", "content": "x"}]), 400, "role"),
            (chat(temperature=9), 400, "temperature"),
            ([], 400, "body"),
        ):
            answer = client.post("/v1/chat/completions", json=body)
            assert answer.status_code == status
            assert said in answer.json()["error"]["message"]
        assert client.post("/v1/else", json={}).status_code == 404
        assert client.post("/v1/chat/completions", content=b"{").status_code == 400
        assert client.get("/").status_code == 404


def test_a_key_is_wanted_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Echo(), key="secret") as address:
        assert httpx.get(f"{address}/v1/models").status_code == 401
        assert httpx.post(f"{address}/v1/chat/completions", json=chat()).status_code == 401
        assert httpx.get(f"{address}/health").status_code == 200
        monkeypatch.setenv("HYPERALIGN_ADAPTERS", address)
        monkeypatch.setenv("HYPERALIGN_SERVE_KEY", "secret")
        assert connect("adapter:letters")("Hello?") == ["letters-1a2b3c4d: Hello?"]
    with pytest.raises(InputError, match="there is no key"):
        listen(Echo(), host="0.0.0.0", port=0)


# Which adapters


def adapter(root: Path, name: str, **changed: object) -> Path:
    weights = root / f".{name}"
    weights.mkdir(parents=True)
    (weights / "adapter_model.safetensors").write_bytes(name.encode())
    card: Card = CARD.model_copy(update={"name": name, "gate": Verdict(passed=True), **changed})
    seal(weights, root / name, card)
    return root / name


def test_whole_adapters_that_passed_are_chosen(tmp_path: Path) -> None:
    one, _ = adapter(tmp_path, "one"), adapter(tmp_path, "two")
    assert [each.card.name for each in choose_adapters(tmp_path)] == ["one", "two"]
    assert [each.card.name for each in choose_adapters(one)] == ["one"]
    with pytest.raises(NotFoundError, match="hyperalign distill"):
        choose_adapters(tmp_path / "nowhere")


def test_what_must_not_be_served_is_refused(tmp_path: Path) -> None:
    folder = adapter(tmp_path, "one", gate=None)
    with pytest.raises(TrainingError, match="never judged"):
        choose_adapters(tmp_path)
    failed = open_adapter(folder).card.model_copy(update={"gate": Verdict(passed=False, reasons=("it forgot",))})
    recard(folder, failed)
    with pytest.raises(TrainingError, match="failed its gate: it forgot"):
        choose_adapters(tmp_path)
    assert len(choose_adapters(tmp_path, force=True)) == 1
    adapter(tmp_path, "two", base="local:other", base_sha256="b2")
    with pytest.raises(InputError, match="2 bases"):
        choose_adapters(tmp_path, force=True)
    (folder / "adapter_model.safetensors").write_bytes(b"changed")
    with pytest.raises(TrainingError, match="not what the manifest says"):
        choose_adapters(tmp_path, force=True)


# The real thing


@needs_train
@pytest.mark.filterwarnings("default")
def test_two_adapters_and_their_base_answer_each_in_its_own_way(student: Student, tmp_path: Path) -> None:
    fast = {"max_steps": 4, "batch": 4, "at_once": 4}
    loud = trained(student, tmp_path / "a", "sft", learning_rate=4e-3, **fast)
    quiet = trained(student, tmp_path / "b", "sft", learning_rate=1e-3, **fast)
    one, two = (
        seal(found.weights, tmp_path / name, CARD.model_copy(update={"name": name}))
        for name, found in (("one", loud), ("two", quiet))
    )
    voices = Voices(student, "smollm", [one, two])
    assert voices.names == ["smollm", one.served_name, two.served_name]
    messages = [{"role": "user", "content": "How are you?"}]
    said = {name: voices.answer(Asked(name, messages, max_tokens=12)).text for name in ("smollm", "one", "two")}
    assert len(set(said.values())) == 3, said
    alone = Voices(student, "smollm", []).answer(Asked("smollm", messages, max_tokens=12))
    assert alone.text == said["smollm"], "with its adapters switched off the base is itself"
    assert alone.tokens_out <= 12
    with pytest.raises(NotFoundError, match="There are: smollm"):
        voices.answer(Asked("three", messages))


@needs_train
@pytest.mark.filterwarnings("default")
def test_an_adapter_that_changes_nothing_is_not_served(student: Student, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    found = trained(student, tmp_path / "run", "sft", max_steps=1, batch=1, at_once=1)
    file = found.weights / "adapter_model.safetensors"
    save_file({name: value * 0 for name, value in load_file(file).items()}, file)
    empty = seal(found.weights, tmp_path / "empty", CARD)
    with pytest.raises(TrainingError, match="letters changes nothing in smollm"):
        Voices(student, "smollm", [empty])
