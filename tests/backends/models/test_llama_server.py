"""The embedded model's server, with the real SmolLM2 and real processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from hyperalign.backends.models.catalogue import resolve
from hyperalign.backends.models.llama_server import LlamaServer, ServerSettings
from hyperalign.backends.models.servers import Address
from hyperalign.concurrency import processor_threads
from hyperalign.errors import ModelServerError

pytest.importorskip("xllamacpp", reason="the 'local' extra is not installed")

MODEL = "smollm2-135m-instruct"
SETTINGS = ServerSettings(threads=2, slots=1, context=1024)
USER = f"""
import sys, time
from hyperalign.backends.models.catalogue import resolve
from hyperalign.backends.models.llama_server import LlamaServer, ServerSettings
server = LlamaServer(resolve({MODEL!r}), ServerSettings.model_validate_json({SETTINGS.model_dump_json()!r}))
print(server.address().pid, flush=True)
time.sleep(120)
"""


@pytest.fixture
def server(smollm_path: Path) -> Iterator[LlamaServer]:
    server = LlamaServer(resolve(MODEL), SETTINGS)
    yield server
    server.close()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def ask(address: Address) -> str:
    response = httpx.post(
        f"{address.base}/chat/completions",
        headers={"Authorization": f"Bearer {address.key}"},
        json={"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "temperature": 0},
        timeout=60,
    )
    return str(response.raise_for_status().json()["choices"][0]["message"]["content"])


def test_answers_on_loopback_with_its_key_only(server: LlamaServer, isolated_folders: Path) -> None:
    address = server.address()
    assert address.base.startswith("http://127.0.0.1:")
    assert ask(address)
    assert httpx.post(f"{address.base}/chat/completions", json={"messages": []}).status_code == 401
    state = next((isolated_folders / "cache" / "servers").glob("*.json"))
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    command = Path(f"/proc/{address.pid}/cmdline").read_bytes()
    assert address.key.encode() not in command
    log = next((isolated_folders / "cache" / "servers").glob("*.log")).read_text()
    assert "hello" not in log
    assert address.key not in log


def test_an_answer_without_a_limit_ends(smollm_path: Path) -> None:
    # A client of the gateway names none, and a small model may go in circles.
    server = LlamaServer(resolve(MODEL), ServerSettings(threads=2, slots=1, context=2048))
    address = server.address()
    asked = {"messages": [{"role": "user", "content": "Go on."}], "temperature": 0, "ignore_eos": True}
    headers = {"Authorization": f"Bearer {address.key}"}
    found = httpx.post(f"{address.base}/chat/completions", headers=headers, json=asked, timeout=300).json()
    server.close()
    assert found["choices"][0]["finish_reason"] == "length"
    assert found["usage"]["completion_tokens"] == 1024


def test_a_killed_server_is_replaced(server: LlamaServer) -> None:
    first = server.address()
    os.kill(first.pid, signal.SIGKILL)
    assert server.address() == first
    second = server.address(renew=True)
    assert second.pid != first.pid
    assert ask(second)
    assert server.address(renew=True) == second


def test_a_server_that_hangs_is_replaced(server: LlamaServer) -> None:
    first = server.address()
    os.kill(first.pid, signal.SIGSTOP)
    assert server.address(renew=True).pid != first.pid
    assert wait_for(lambda: not lives(first.pid))


def test_two_processes_share_one_server_and_the_last_kill_stops_it(smollm_path: Path) -> None:
    users = [subprocess.Popen([sys.executable, "-c", USER], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        pids = {int(user.stdout.readline()) for user in users if user.stdout}
        assert len(pids) == 1, "they started at the same time and must agree on one server"
        (pid,) = pids
        users[0].kill()
        users[0].wait()
        time.sleep(1.5)
        assert lives(pid), "one user is left"
    finally:
        for user in users:
            user.kill()
            user.wait()
            if user.stdout:
                user.stdout.close()
    assert wait_for(lambda: not lives(pid)), "its last user is gone"


def test_a_closed_server_stops_and_can_be_started_again(server: LlamaServer) -> None:
    first = server.address()
    server.close()
    assert wait_for(lambda: not lives(first.pid))
    assert ask(server.address())


def test_a_broken_model_gives_the_end_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 100)
    server = LlamaServer(resolve(str(path)), SETTINGS)
    with pytest.raises(ModelServerError, match=r"The end of its log:\n  .+"):
        server.address()
    server.close()


def test_defaults_follow_machine_and_model() -> None:
    settings = ServerSettings().filled(resolve(MODEL))
    assert settings.threads == processor_threads()
    assert settings.context == 8192
    assert ServerSettings(context=512).filled(resolve(MODEL)).context == 512
