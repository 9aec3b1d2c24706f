"""Which adapters may be served, and what starts, awaits and fills a vLLM server, without a vLLM."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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
from hyperalign.backends.serve.vllm import VLLMServer, find_vllm_python, fit_rank
from hyperalign.backends.serve.vllm_adapters import VLLMClient, load_adapter, select_adapters, unload_adapter
from hyperalign.errors import (
    InputError,
    MissingExtraError,
    ModelServerError,
    NotFoundError,
    TrainingError,
)
from tests.backends.distill.test_adapters import CARD


class _TakesNone(BaseHTTPRequestHandler):
    """A server of models that knows nothing of adapters."""

    def do_GET(self) -> None:
        models = [{"id": name, "object": "model"} for name in ("base-0", "letters-1a2b3c4d")]
        self._send(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(404, {"error": {"message": "There is no such path."}})

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def _send(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def listening() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TakesNone)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def adapter(root: Path, name: str, **changed: object) -> Path:
    weights = root / f".{name}"
    weights.mkdir(parents=True)
    (weights / "adapter_model.safetensors").write_bytes(name.encode())
    card: Card = CARD.model_copy(update={"name": name, "gate": Verdict(passed=True), **changed})
    write_adapter(weights, root / name, card)
    return root / name


def add_file(folder: Path, name: str, content: str) -> Adapter:
    """Make an adapter anew with one more file in it, or another one of that name."""
    weights = folder.parent / f".{folder.name}"
    (weights / name).write_text(content)
    (folder / "manifest.json").unlink()
    return write_adapter(weights, folder, CARD)


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

    def tokenizer(words: dict[str, int]) -> str:
        added = [{"id": 9, "content": "<|im_end|>"}]
        return json.dumps({"model": {"vocab": words}, "added_tokens": added})

    (base / "tokenizer.json").write_text(tokenizer({"a": 0, "b": 1, "c": 2}))
    check_tokenizer(add_file(folder, "tokenizer.json", tokenizer({"a": 0, "b": 1, "c": 2})), base)
    add_file(folder, "tokenizer.json", tokenizer({"a": 0, "b": 2, "c": 1}))
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
        return add_file(adapter(tmp_path, name), "adapter_config.json", json.dumps({"r": rank}))

    small, large = ranked("small", 8), ranked("large", 65)
    assert fit_rank([small]) == 16
    assert fit_rank([small, large]) == 128
    with pytest.raises(InputError, match="rank 512 at most; one here has 1024"):
        fit_rank([ranked("huge", 1024)])
    with pytest.raises(TrainingError, match=r"adapter_config\.json .* can't be read"):
        fit_rank([ranked("odd", "x")])


def test_a_server_that_takes_no_adapters_says_what_to_do(tmp_path: Path) -> None:
    folder = adapter(tmp_path, "one", base="local:base", base_sha256="0")
    with listening() as address:
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
    with listening() as address, pytest.raises(InputError, match="can't be listened on"):
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
