"""``kill -9`` at random moments, many calls at once: the profile is the same, and nothing is paid for twice."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hyperalign.store import Store
from tests.fixtures.scripted_server import Recorded, ScriptedServer, Step, raw

from .forked import command, context
from .letters import asked, write

KILLS = 20


def letters(request: Recorded) -> str:
    """Answers that depend on the question alone, in a form that fits most of them."""
    digest = hashlib.sha256(request.prompt.encode()).digest()
    lines = [f"{number}: {'AB'[digest[number % 32] % 2]}" for number in range(1, 25)]
    if "JSON object" in request.prompt:
        words = "The marmalade is ready"
        return json.dumps({"hypothesis": {"quote": words, "statement": "Writes warmly.", "opposite": "Writes coldly."}})
    return "\n".join(lines) if "2. " in request.prompt else "AB"[digest[0] % 2]


def answer(handler: Any, request: Recorded) -> None:
    """After a while, with an id that tells which request it answers."""
    time.sleep(0.05)
    message = {"role": "assistant", "content": letters(request)}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    raw({"id": request_id(request), "object": "chat.completion", "choices": choices, "usage": usage}).action(
        handler, request
    )


def profile(user: str) -> dict[str, Any]:
    """What is believed, without when it was found out."""
    with Store() as store:
        said = json.loads(store.load(user).to_json())
    return {name: said[name] for name in ("hypotheses", "dropped", "examples", "style", "direction")}


def key(request: Recorded) -> str:
    return json.dumps(request.body, sort_keys=True)


@pytest.mark.timeout(600)
def test_twenty_kills_lose_nothing(tmp_path: Path, scripted_server: ScriptedServer) -> None:
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    scripted_server.default = Step("letters", answer)
    made = context()
    options = [*asked(f"vllm:{scripted_server.url}", tmp_path), "--concurrency", "16"]
    arguments = ["fit", *write(tmp_path, "a.txt", "b.txt", "c.txt"), *write(tmp_path / "more", "d.txt"), *options]
    undisturbed = command(made, tmp_path, *arguments, "--user", "bea")
    undisturbed.join(120)
    assert undisturbed.exitcode == 0, (tmp_path / "out.txt").read_text()
    calls, scripted_server.requests = len(scripted_server.requests), []

    runs = tmp_path / "hyperalign" / "data" / "runs"
    written: set[str] = set()
    answered: Counter[str] = Counter()
    kills = 0
    while True:
        running = command(made, tmp_path, *arguments, "--user", "ada")
        before = len(scripted_server.requests)
        stop_after = draw.randrange(1, 6)
        if kills < KILLS:
            # Some are killed between calls, some while many are under way, some before the first.
            while running.is_alive() and len(scripted_server.requests) < before + stop_after:
                time.sleep(0.002)
            time.sleep(draw.random() * 0.06)
            running.kill()
        running.join(120)
        # A kill may cut a request off before its body.
        again = [key(request) for request in scripted_server.requests[before:] if request.body]
        assert not set(again) & written, f"seed {seed}: a call whose answer was written is made again"
        answered.update(again)
        written = written_calls(runs, scripted_server)
        if running.exitcode == 0:
            break
        kills += 1
    assert kills >= min(KILLS, calls // 6), f"seed {seed}"
    assert profile("ada") == profile("bea"), f"seed {seed}"
    assert len(answered) == calls, "no other question than without kills"


def written_calls(runs: Path, server: ScriptedServer) -> set[str]:
    """The requests whose answers are on the disk: as many as lines, by what the server answered."""
    (folder,) = runs.glob("fit-ada-*")
    file = folder / "calls.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    ids = set()
    for line in lines:
        try:
            ids.add(json.loads(line)["value"].get("id"))
        except ValueError:
            continue  # torn by the kill
    return {key(request) for request in server.requests if request_id(request) in ids}


def request_id(request: Recorded) -> str:
    return hashlib.sha256(key(request).encode()).hexdigest()
