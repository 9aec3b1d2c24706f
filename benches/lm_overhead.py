"""What hyperalign adds to a model call: CPU per call over a bare ``dspy.LM``.

Both call the same local server, which answers at once. The budget counts and the journal
of the first figure is off, of the second in memory. Run: python benches/lm_overhead.py
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from typing import Any

CALLS = 200
ROUNDS = 5
ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "created": 0,
    "model": "any",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Fine."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 300, "completion_tokens": 2, "total_tokens": 302},
}
PROMPT = "Write what this person would write about their garden in autumn. " * 20


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    body = json.dumps(ANSWER).encode()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)


class MemoryJournal:
    """A journal that is always empty when asked."""

    def get(self, key: str) -> dict[str, Any] | None:
        """Nothing."""
        return None

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Forget it, at the price of making JSON of it."""
        json.dumps(value)


def serve(port: Any) -> None:
    """Answer in a process of its own, so that its CPU is not counted."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    port.send(server.server_address[1])
    server.serve_forever()


def cpu_per_call(ask: Callable[[str], Any]) -> float:
    """Milliseconds of this process's CPU per call."""
    started = time.process_time()
    for number in range(CALLS):
        ask(f"{PROMPT}{number}")
    return (time.process_time() - started) / CALLS * 1000


def main() -> None:
    """Measure in turns, so that the machine's mood falls on all alike."""
    from hyperalign.backends.models.connect import connect
    from hyperalign.budget import Budget

    warnings.simplefilter("ignore")
    import dspy

    here, there = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    base = f"http://127.0.0.1:{here.recv()}/v1"
    settings: dict[str, Any] = {"api_base": base, "api_key": "k"}
    models = {
        "bare dspy.LM": dspy.LM("openai/any", engine="litellm", cache=False, **settings),
        "hyperalign": connect("openai/any", budget=Budget(), **settings),
        "hyperalign + journal": connect("openai/any", budget=Budget(), journal=MemoryJournal(), **settings),
    }
    for model in models.values():
        for _ in range(20):
            model("warm up")
    figures: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, model in models.items():
            figures[name].append(cpu_per_call(model))
    server.terminate()
    bare = statistics.median(figures["bare dspy.LM"])
    for name, values in figures.items():
        middle = statistics.median(values)
        sys.stdout.write(f"{name:22} {middle:6.2f} ms CPU/call  ({middle - bare:+.2f})\n")


if __name__ == "__main__":
    main()
