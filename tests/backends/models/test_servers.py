"""The server of an adapter's folder, in a real process of its own, with a stand-in for what it loads."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hyperalign.backends.models import servers
from hyperalign.backends.models.connect import check_ready, connect
from hyperalign.backends.models.servers import AdapterServer
from hyperalign.errors import MissingExtraError, ModelServerError, UnknownModelError

from .test_llama_server import lives, wait_for

_STAND_IN = """
import http.server, json, os, sys
assert sys.argv[1:3] == ["serve", "--adapters"] and sys.argv[4:] == ["--port", "0", "--force"], sys.argv
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Authorization"] == "Bearer " + os.environ["HYPERALIGN_SERVE_KEY"]
        message = {"role": "assistant", "content": f"{asked['model']} by {os.getpid()}"}
        self.answer({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    def answer(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(f"Serving at http://127.0.0.1:{server.server_address[1]}/v1; Ctrl-C ends it.", flush=True)
server.serve_forever()
"""


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """The folder of an adapter without weights."""
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps({"name": "letters"}))
    (folder / "manifest.json").write_text(json.dumps({"sha256": {"adapter_model.safetensors": "1a2b3c4d5e"}}))
    return folder


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_SERVE", _STAND_IN)
    monkeypatch.setattr(AdapterServer, "check", lambda self: None)


@pytest.mark.usefixtures("stand_in")
def test_a_folder_is_served_from_the_first_call_to_the_kill(adapter: Path) -> None:
    lm = connect(f"adapter:{adapter}")
    assert lm.model == "openai/letters-1a2b3c4d"
    server = lm.target.server
    assert isinstance(server, AdapterServer)
    assert server._process is None, "nothing runs before it is asked"
    (first,) = lm("Hi")
    assert first.startswith("letters-1a2b3c4d by ")
    pid = int(first.rpartition(" ")[2])
    assert connect(f"adapter:{adapter}")("Hi again") == [first], "models of one folder share a server"
    assert pickle.loads(pickle.dumps(server)) is server
    lm.kill()
    assert not lives(pid)
    lm.kill()
    lm.launch()
    again = server.address().pid
    assert again != pid
    os.kill(again, signal.SIGKILL)
    (third,) = lm("Hi")
    assert int(third.rpartition(" ")[2]) not in (pid, again), "a dead server is replaced"
    server.close()


def test_a_server_ends_with_a_process_that_is_killed(adapter: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from hyperalign.backends.models import servers\n"
        f"servers._SERVE = {_STAND_IN!r}\n"
        "servers.AdapterServer.check = lambda self: None\n"
        "print(servers.adapter_server(Path(sys.argv[1])).address().pid, flush=True)\n"
        "time.sleep(120)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(adapter)], stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        pid = int(user.stdout.readline())
        assert lives(pid)
        user.kill()
    assert wait_for(lambda: not lives(pid))


@pytest.mark.usefixtures("stand_in")
def test_a_server_that_does_not_start_gives_the_end_of_its_log(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_SERVE", "raise SystemExit('The adapter letters changes nothing.')")
    with pytest.raises(ModelServerError, match=r"letters-1a2b3c4d ended with exit code 1(.|\n)*changes nothing"):
        connect(f"adapter:{adapter}")("Hi")


def test_what_could_not_be_served_is_said_at_once(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="train"):
        check_ready(connect(f"adapter:{adapter}"))
    (adapter / "manifest.json").unlink()
    with pytest.raises(UnknownModelError, match="no whole adapter"):
        connect(f"adapter:{adapter}")
