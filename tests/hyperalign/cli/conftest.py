"""Runs the command line as a user would: the same entry point, in this process or in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hyperalign.cli import main
from tests.fixtures.scripted_server import ScriptedServer, reply

from .letters import all_a, asked

__all__ = ["Done", "Run", "Start"]


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def refused(self, code: int, *said: str) -> None:
        """It failed as documented: the code, a sentence and a remedy on standard error, and no traceback."""
        assert self.code == code, (self.out, self.err)
        assert "Traceback" not in self.err
        assert self.out == ""
        what, _, remedy = self.err[self.err.index("Error: ") :].strip().partition("\n")
        assert what
        assert remedy, self.err
        for part in said:
            assert part in self.err


Run = Callable[..., Done]
Start = Callable[..., "subprocess.Popen[str]"]
# A shell that starts the tests in the background has Ctrl-C ignored, and children inherit that.
_HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
# As the installed command does, it looks for no package where it is started (-P): a test's folder has one of this name.
ENTRY = (sys.executable, "-P", "-c", f"{_HEARS}; from hyperalign.cli import main; main()")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """``run("fit", file, stdin=b"…")`` in this process; commands see ``tmp_path`` as their folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("HYPERALIGN_DEBUG", "HYPERALIGN_MODEL", "HYPERALIGN_SCORER", "HYPERALIGN_STORE"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str | Path, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["hyperalign", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, out, err)

    return call


@pytest.fixture
def process(tmp_path: Path) -> Start:
    """``process("fit", file)`` starts the command as a process of its own in ``tmp_path``."""

    def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*ENTRY, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def options(scripted_server: ScriptedServer, tmp_path: Path) -> list[str]:
    """A run against the scripted server, which answers every question with A."""
    scripted_server.default = reply(all_a)
    return asked(f"vllm:{scripted_server.url}", tmp_path)
