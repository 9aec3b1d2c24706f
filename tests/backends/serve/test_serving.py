"""Adapters behind OpenAI's wire: the wire on voices of one line each, and the real SmolLM2 with a real adapter."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hyperalign.backends.distill.adapters import (
    Adapter,
    Card,
    Verdict,
    check_tokenizer,
    open_adapter,
    update_card,
    write_adapter,
)
from hyperalign.backends.distill.student import Student
from hyperalign.backends.models.connect import connect
from hyperalign.backends.serve.multi_lora import MultiLoraModel
from hyperalign.backends.serve.openai_server import ChatModel, Completion, CompletionRequest, create_server
from hyperalign.backends.serve.vllm import VLLMServer, find_vllm_python, fit_rank
from hyperalign.backends.serve.vllm_adapters import VLLMClient, load_adapter, select_adapters, unload_adapter
from hyperalign.errors import (
    InputError,
    MissingExtraError,
    ModelServerError,
    NotFoundError,
    StorageError,
    TrainingError,
    UnknownModelError,
)
from tests.backends.distill.small_students import needs_train, trained
from tests.backends.distill.test_adapters import CARD


class Echo:
    """Says back what it is asked."""

    def __init__(self) -> None:
        self.asked: list[CompletionRequest] = []

    @property
    def names(self) -> list[str]:
        return ["base-0", "letters-1a2b3c4d"]

    def complete(self, asked: CompletionRequest, on_text: Callable[[str], object] | None = None) -> Completion:
        if asked.model not in self.names:
            raise NotFoundError(f"There is no model {asked.model!r} here.")
        self.asked.append(asked)
        said = f"{asked.model}: {asked.messages[-1]['content']}"
        for piece in re.findall(r"\s*\S+", said) if on_text else ():
            on_text(piece)
        if "break" in said:
            raise InputError("It broke in the middle.")
        return Completion(said, 3, 2, truncated=False)


@contextmanager
def listening(model: ChatModel, key: str = "") -> Iterator[str]:
    server = create_server(model, port=0, key=key)
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


def test_a_page_that_names_this_machine_otherwise_is_refused_where_there_is_no_key() -> None:
    with listening(Echo()) as address, httpx.Client(base_url=address) as client:
        for host, status in (("page.example:8010", 403), ("localhost:8010", 200), ("[::1]:8010", 200)):
            assert client.get("/v1/models", headers={"Host": host}).status_code == status
            assert client.post("/v1/chat/completions", json=chat(), headers={"Host": host}).status_code == status
        assert client.get("/health", headers={"Host": "page.example"}).status_code == 200
    with listening(Echo(), key="k") as address:
        told = {"Host": "page.example", "Authorization": "Bearer k"}
        assert httpx.get(f"{address}/v1/models", headers=told).status_code == 200, "a proxy with the key may"


def test_what_is_drawn_is_drawn_anew_unless_a_seed_is_given() -> None:
    echo = Echo()
    with listening(echo) as address:
        for more in ({}, {"seed": 7}):
            httpx.post(f"{address}/v1/chat/completions", json=chat(temperature=1.0, **more))
    assert [asked.seed for asked in echo.asked] == [None, 7]


def events(client: httpx.Client, **changed: object) -> list[dict[str, Any]]:
    answer = client.post("/v1/chat/completions", json=chat(stream=True, **changed))
    assert answer.headers["Content-Type"] == "text/event-stream"
    *lines, last = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert last == "[DONE]"
    return [json.loads(line) for line in lines]


def test_an_answer_is_streamed_as_it_is_written() -> None:
    with listening(Echo()) as address, httpx.Client(base_url=address) as client:
        *pieces, end = events(client)
        assert [piece["choices"][0]["delta"]["content"] for piece in pieces] == ["base-0:", " Hi"]
        assert end["choices"][0]["finish_reason"] == "stop"
        assert len({each["id"] for each in [*pieces, end]}) == 1
        assert not any("usage" in each for each in [*pieces, end])
        *_, cost = events(client, stream_options={"include_usage": True})
        assert (cost["choices"], cost["usage"]["total_tokens"]) == ([], 5)
        assert client.post("/v1/chat/completions", json=chat(stream=True, model="x")).status_code == 404
        *_, broke = events(client, messages=[{"role": "user", "content": "break"}])
        assert broke["error"]["message"].startswith("It broke in the middle.")


def test_who_leaves_while_it_is_written_frees_the_model(capfd: pytest.CaptureFixture[str]) -> None:
    left = threading.Event()

    class Talks(Echo):
        def complete(self, asked: CompletionRequest, on_text: Callable[[str], object] | None = None) -> Completion:
            try:
                while on_text is not None:
                    on_text("and so on " * 100)
            except ConnectionError:
                left.set()
                raise
            return super().complete(asked)

    with listening(Talks()) as address:
        host, port = address.removeprefix("http://").split(":")
        body = json.dumps(chat(stream=True))
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            assert b"200 OK" in caller.recv(100)
        assert left.wait(20)
        assert httpx.post(f"{address}/v1/chat/completions", json=chat()).status_code == 200
    assert not capfd.readouterr().err


def test_a_key_is_wanted_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Echo(), key="secret") as address:
        assert httpx.get(f"{address}/v1/models").status_code == 401
        assert httpx.post(f"{address}/v1/chat/completions", json=chat()).status_code == 401
        assert httpx.get(f"{address}/health").status_code == 200
        monkeypatch.setenv("HYPERALIGN_ADAPTERS", address)
        monkeypatch.setenv("HYPERALIGN_SERVE_KEY", "secret")
        assert connect("adapter:letters")("Hello?") == ["letters-1a2b3c4d: Hello?"]
    with pytest.raises(InputError, match="there is no key"):
        create_server(Echo(), host="0.0.0.0", port=0)


# Which adapters


def adapter(root: Path, name: str, **changed: object) -> Path:
    weights = root / f".{name}"
    weights.mkdir(parents=True)
    (weights / "adapter_model.safetensors").write_bytes(name.encode())
    card: Card = CARD.model_copy(update={"name": name, "gate": Verdict(passed=True), **changed})
    write_adapter(weights, root / name, card)
    return root / name


def test_whole_adapters_that_passed_are_chosen(tmp_path: Path) -> None:
    one, _ = adapter(tmp_path, "one"), adapter(tmp_path, "two")
    assert [each.card.name for each in select_adapters(tmp_path)] == ["one", "two"]
    assert [each.card.name for each in select_adapters(one)] == ["one"]
    with pytest.raises(NotFoundError, match="hyperalign distill"):
        select_adapters(tmp_path / "nowhere")


def test_what_must_not_be_served_is_refused(tmp_path: Path) -> None:
    folder = adapter(tmp_path, "one", gate=None)
    with pytest.raises(TrainingError, match="has not judged"):
        select_adapters(tmp_path)
    failed = open_adapter(folder).card.model_copy(update={"gate": Verdict(passed=False, reasons=("it forgot",))})
    update_card(folder, failed)
    with pytest.raises(TrainingError, match="failed its gate: it forgot"):
        select_adapters(tmp_path)
    assert len(select_adapters(tmp_path, force=True)) == 1
    adapter(tmp_path, "two", base="local:other", base_sha256="b2")
    with pytest.raises(InputError, match="2 bases"):
        select_adapters(tmp_path, force=True)
    (folder / "adapter_model.safetensors").write_bytes(b"changed")
    with pytest.raises(TrainingError, match="does not match its manifest"):
        select_adapters(tmp_path, force=True)


def test_other_tokens_than_the_bases_are_refused(tmp_path: Path) -> None:
    folder, base = adapter(tmp_path, "one"), tmp_path / "base"
    base.mkdir()
    check_tokenizer(open_adapter(folder), base)  # nothing is known of either

    def speak(where: Path, words: dict[str, int]) -> None:
        added = [{"id": 9, "content": "<|im_end|>"}]
        (where / "tokenizer.json").write_text(json.dumps({"model": {"vocab": words}, "added_tokens": added}))

    speak(base, {"a": 0, "b": 1, "c": 2})
    speak(folder, {"a": 0, "b": 1, "c": 2})
    check_tokenizer(update_card(folder, CARD), base)
    speak(folder, {"a": 0, "b": 2, "c": 1})
    with pytest.raises(TrainingError, match="another vocabulary than local:smollm2-135m-instruct has: 2 tokens differ"):
        check_tokenizer(update_card(folder, CARD), base)
    (base / "tokenizer.json").write_text("{")
    with pytest.raises(TrainingError, match="can't be read"):
        check_tokenizer(open_adapter(folder), base)


# vLLM, as far as it can be seen without it


def test_vllm_is_looked_for_where_it_was_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERALIGN_VLLM_PYTHON", sys.executable)
    assert find_vllm_python() == Path(sys.executable)
    for nowhere in ("/nowhere/python", None):
        if nowhere is None:
            monkeypatch.delenv("HYPERALIGN_VLLM_PYTHON")
        else:
            monkeypatch.setenv("HYPERALIGN_VLLM_PYTHON", nowhere)
        with pytest.raises(MissingExtraError, match=r"hyperalign\[serve\]', in an environment of its own"):
            find_vllm_python()


def test_room_is_made_for_the_largest_rank(tmp_path: Path) -> None:
    def ranked(name: str, rank: object) -> Adapter:
        folder = adapter(tmp_path, name)
        (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
        return open_adapter(folder)

    small, large = ranked("small", 8), ranked("large", 65)
    assert fit_rank([small]) == 16
    assert fit_rank([small, large]) == 128
    with pytest.raises(InputError, match="rank 512 at most; one here has 1024"):
        fit_rank([ranked("huge", 1024)])
    with pytest.raises(TrainingError, match=r"adapter_config\.json .* can't be read"):
        fit_rank([ranked("odd", "x")])


def test_a_server_that_takes_no_adapters_says_what_to_do(tmp_path: Path) -> None:
    folder = adapter(tmp_path, "one", base="local:base", base_sha256="0")
    with listening(Echo()) as address:
        with pytest.raises(ModelServerError, match="can't load the adapter one at run time"):
            load_adapter(VLLMClient(address), open_adapter(folder))
        with pytest.raises(NotFoundError, match="No adapter 'one' is served"):
            unload_adapter(VLLMClient(address), "one")
        with pytest.raises(InputError, match="The server's base is base-0, and the adapter two is of other-b2"):
            load_adapter(
                VLLMClient(address), open_adapter(adapter(tmp_path, "two", base="local:other", base_sha256="b2"))
            )
    with pytest.raises(ModelServerError, match="No server of adapters answers"):
        load_adapter(VLLMClient("http://127.0.0.1:9"), open_adapter(folder))
    with pytest.raises(InputError, match="there is no key"):
        VLLMServer(Path("python"), tmp_path, "base", host="0.0.0.0", port=8010)


def test_a_port_where_somebody_listens_is_not_taken_for_a_server_that_started(tmp_path: Path) -> None:
    with listening(Echo()) as address, pytest.raises(StorageError, match="can't be listened on"):
        VLLMServer(Path("python"), tmp_path, "base", port=int(address.rpartition(":")[2]))


FAKE_VLLM = """#!{python}
import http.server, os, pathlib, sys
folder = pathlib.Path(sys.argv[0]).parent
print("ValueError: no room", "and more", flush=True)
for name in ("VLLM_API_KEY", "PYTHONPATH"):
    print(name, os.environ[name], flush=True)
if (folder / "fails").exists():
    print("shutting down", flush=True)
    sys.exit(3)
port = int(sys.argv[sys.argv.index("--port") + 1])
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


def test_a_server_is_awaited_stopped_and_its_failure_told_from_its_log(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text(FAKE_VLLM.replace("{python}", sys.executable))
    fake.chmod(0o700)
    with VLLMServer(fake, tmp_path, "base", port=0, key="secret") as server:
        assert httpx.get(f"{server.address}/health").is_success
        log = server.log.read_text()
        assert "VLLM_API_KEY secret" in log
        assert "inside_vllm" in log
        assert server.log.stat().st_mode & 0o777 == 0o600
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.address}/health")
    (tmp_path / "fails").touch()
    with pytest.raises(ModelServerError, match=r"vLLM ended with exit code 3[^$]*ValueError: no room") as failed:
        VLLMServer(fake, tmp_path, "base", port=0).__enter__()
    assert "shutting down" not in failed.value.message, "what went wrong is told, and not how the log ends"


# The real thing


@needs_train
@pytest.mark.filterwarnings("default")
def test_two_adapters_and_their_base_answer_each_in_its_own_way(student: Student, tmp_path: Path) -> None:
    fast = {"max_steps": 4, "batch_size": 4, "micro_batch_size": 4}
    loud = trained(student, tmp_path / "a", "sft", learning_rate=4e-3, **fast)
    quiet = trained(student, tmp_path / "b", "sft", learning_rate=1e-3, **fast)
    one, two = (
        write_adapter(found.weights, tmp_path / name, CARD.model_copy(update={"name": name}))
        for name, found in (("one-v1.2", loud), ("two", quiet))
    )
    served = MultiLoraModel(student, "smollm", [one, two])
    assert served.names == ["smollm", one.served_name, two.served_name]
    messages = [{"role": "user", "content": "Tell me about the sea."}]
    said = {
        name: served.complete(CompletionRequest(name, messages, max_tokens=12)).text
        for name in ("smollm", "one-v1.2", "two")
    }
    assert len(set(said.values())) == 3, said
    heard: list[str] = []
    again = served.complete(CompletionRequest("one-v1.2", messages, max_tokens=12), heard.append).text
    assert again == said["one-v1.2"] == "".join(heard)
    assert len(heard) > 1
    alone = MultiLoraModel(student, "smollm", []).complete(CompletionRequest("smollm", messages, max_tokens=12))
    assert alone.text == said["smollm"], "with its adapters switched off the base is itself"
    assert alone.tokens_out <= 12
    with pytest.raises(NotFoundError, match="There are: smollm"):
        served.complete(CompletionRequest("three", messages))


@needs_train
@pytest.mark.filterwarnings("default")
def test_an_adapter_that_changes_nothing_is_not_served(shallow: Student, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    found = trained(shallow, tmp_path / "run", "sft", max_steps=1, batch_size=1, micro_batch_size=1)
    file = found.weights / "adapter_model.safetensors"
    save_file({name: value * 0 for name, value in load_file(file).items()}, file)
    empty = write_adapter(found.weights, tmp_path / "empty", CARD)
    with pytest.raises(TrainingError, match="letters changes nothing in smollm"):
        MultiLoraModel(shallow, "smollm", [empty])


@needs_train
@pytest.mark.filterwarnings("default")
def test_a_real_voice_draws_anew_unless_a_seed_is_given(shallow: Student) -> None:
    served = MultiLoraModel(shallow, "smollm", [])

    def drawn(seed: int | None) -> str:
        asked = [{"role": "user", "content": "How are you?"}]
        return served.complete(CompletionRequest("smollm", asked, max_tokens=8, temperature=1.0, seed=seed)).text

    assert drawn(7) == drawn(7) != drawn(8)
    assert drawn(None) != drawn(None)
