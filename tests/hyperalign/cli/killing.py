"""Commands that are killed at random moments, run again until they end, and compared with undisturbed ones."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from hyperalign.store import Store
from tests.fixtures.scripted_server import Recorded, ScriptedServer, Step, raw

from .forked import command
from .letters import asked, write

__all__ = ["HOW", "SCENARIOS", "Outcome", "Scenario", "kill_and_go_on"]

HOW = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# By a signal, or by a command's own account of it; a bare process of multiprocessing says 1.
_ENDS = {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM, 130, 1}
_ANSWER_SECONDS = 0.05
_MARMALADE = "The marmalade is ready"


@dataclass(frozen=True)
class Scenario:
    """A command, and what it leaves.

    Attributes:
        prepare: makes its inputs in a folder, and returns its arguments.
        result: what it found, without times and costs.
        begin: runs before it, once; may be None.
        start: starts it; as a command line by default.
    """

    prepare: Callable[[Path, ScriptedServer], list[str]]
    result: Callable[[Path], Any]
    begin: Callable[[Path, ScriptedServer], list[str]] | None = None
    start: Callable[..., BaseProcess] = command


@dataclass
class Outcome:
    """What came of a command that was killed.

    Attributes:
        kills: by signal.
        calls: requests that the server answered, of the command's own.
        again: requests whose answers were on the disk, and that came again.
        lost: answers that were on the disk after a kill, and later were not.
        is_same: whether the result is that of an undisturbed run.
        booked: calls in ``cost.json``.
        slowest_stop: seconds from SIGINT or SIGTERM to the end of the process, at most.
        late: requests that came after SIGINT or SIGTERM, beside those under way, at most.
    """

    kills: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    again: int = 0
    lost: int = 0
    is_same: bool = False
    booked: int = 0
    slowest_stop: float = 0.0
    late: int = 0


def said(request: Recorded) -> str:
    """Answers that depend on the question alone, in a form that fits most of them."""
    import hashlib

    if "better instruction" in request.prompt:
        return json.dumps({"better": "Write the answer with a greeting first and warm words after it, as to a friend."})
    digest = hashlib.sha256(request.prompt.encode()).digest()
    lines = [f"{number}: {'AB'[digest[number % 32] % 2]}" for number in range(1, 25)]
    if "JSON object" in request.prompt:
        claim = {"quote": _MARMALADE, "statement": "Writes warmly.", "opposite": "Writes coldly."}
        return json.dumps({"hypothesis": claim})
    if "2. " in request.prompt:
        return "\n".join(lines)
    return f"{'AB'[digest[0] % 2]} is what I say, dear friend, and no more."


def answer(handler: Any, request: Recorded) -> None:
    """After a while, with an id that tells which request it answers."""
    time.sleep(_ANSWER_SECONDS)
    message = {"role": "assistant", "content": said(request)}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    raw({"id": key(request), "object": "chat.completion", "choices": choices, "usage": usage}).action(handler, request)


def key(request: Recorded) -> str:
    """The request itself; the same for the same body."""
    import hashlib

    return hashlib.sha256(json.dumps(request.body, sort_keys=True).encode()).hexdigest()


# The commands


def _model(server: ScriptedServer) -> list[str]:
    return ["--model", f"vllm:{server.url}", "--concurrency", "16"]


def _fit(folder: Path, server: ScriptedServer) -> list[str]:
    files = [*write(folder, "a.txt", "b.txt", "c.txt"), *write(folder / "more", "d.txt")]
    options = [*asked(f"vllm:{server.url}", folder), "--concurrency", "16"]
    return ["fit", *map(str, files), *options, "--user", "ada"]


def _update(folder: Path, server: ScriptedServer) -> list[str]:
    (folder / "more.txt").write_text("Dear Sue, the marmalade is ready, and so am I! Do bring the jars; how glad I am.")
    options = [*asked(f"vllm:{server.url}", folder), "--concurrency", "16"]
    return ["update", str(folder / "more.txt"), *options, "--user", "ada"]


def _profile(folder: Path) -> Any:
    del folder
    with Store() as store:
        kept = json.loads(store.load("ada").to_json())
    return {name: kept[name] for name in ("hypotheses", "dropped", "examples", "style", "direction")}


def _eval(folder: Path, server: ScriptedServer) -> list[str]:
    from .test_eval import pairs

    file = str(pairs(folder / "pairs.jsonl", each=8))
    options = ["--scorer", "none", "--strategy", "none,few-shot,verified", "--letters", "--seed", "3"]
    return ["eval", file, *_model(server), *options, "--out", str(folder / "out")]


def _summary(folder: Path) -> Any:
    cases = [json.loads(line) for line in (folder / "out" / "cases.jsonl").read_text().splitlines()]
    summary = json.loads((folder / "out" / "summary.json").read_text())
    # Which case pays for the fit of a profile that several need depends on the threads.
    for case in cases:
        assert not case["error"], case["error"]
        del case["seconds"], case["result"]["tokens"]
    return {name: value for name, value in summary.items() if name != "cost"}, {case["case"]: case for case in cases}


def _optimize(folder: Path, server: ScriptedServer) -> list[str]:
    from .test_optimize import people

    task = str(people(folder / "people.jsonl"))
    return ["optimize", "generate", "--task", task, *_model(server), "--max-steps", "2", "--out", str(folder / "out")]


def _artifact(folder: Path) -> Any:
    artifact = json.loads((folder / "out" / "artifact.json").read_text())
    return artifact | {"spent": {}}, json.loads((folder / "out" / "prompts.json").read_text())


def _distill(folder: Path, server: ScriptedServer) -> list[str]:
    return [server.url, str(folder / "out" / "traces.jsonl")]


def _traces(folder: Path) -> Any:
    lines = (folder / "out" / "traces.jsonl").read_text().splitlines()
    traces = [json.loads(line) for line in lines]
    return {trace["id"]: trace for trace in traces}


def _collect(made: ForkServerContext, folder: Path, *arguments: str) -> BaseProcess:
    """What ``distill`` does before it trains, which needs the extra ``train``."""
    process = made.Process(target=_collect_traces, args=(dict(os.environ), *arguments))
    process.start()
    return process


def _collect_traces(environment: dict[str, str], url: str, path: str) -> None:
    from hyperalign.backends.distill.collect import Teacher, collect_traces
    from hyperalign.backends.models.connect import connect
    from hyperalign.budget import Budget
    from hyperalign.cli import ending_like_interrupts
    from hyperalign.programs.strategies import strategy
    from tests.hyperalign.example_people import profile

    os.environ.update(environment)
    with ending_like_interrupts():
        budget = Budget()
        teacher = Teacher(connect(f"vllm:{url}", budget=budget), strategy("verified"), drafts=2, concurrency=16)
        prompts = [f"What do you say of thing {number}?" for number in range(40)]
        collect_traces(teacher, [profile()], prompts, Path(path), budget=budget)


SCENARIOS = {
    "fit": Scenario(_fit, _profile),
    "update": Scenario(_update, _profile, begin=_fit),
    "eval": Scenario(_eval, _summary),
    "optimize": Scenario(_optimize, _artifact),
    "distill": Scenario(_distill, _traces, start=_collect),
}


# Killing them


def kill_and_go_on(
    made: ForkServerContext, name: str, server: ScriptedServer, folder: Path, *, kills: int, seed: int
) -> Outcome:
    """Run a command undisturbed, then one that is killed again and again until so many kills or its end.

    Args:
        made: from ``forked.context``.
        name: of ``SCENARIOS``.
        server: answers.
        folder: an empty one.
        kills: at most so many.
        seed: of the moments and the signals.
    """
    scenario, draw, outcome = SCENARIOS[name], random.Random(f"{seed}/{name}"), Outcome()
    server.default = Step("said", answer)
    server.requests.clear()
    with _data(folder / "data"):
        if scenario.begin is not None:
            _end(command(made, folder, *scenario.begin(folder, server)), folder)
    shutil.copytree(folder / "data", folder / "data-whole") if (folder / "data").exists() else None
    arguments = scenario.prepare(folder, server)
    with _data(folder / "data-whole"):
        server.requests.clear()
        _end(scenario.start(made, folder, *arguments), folder)
        expected, whole = scenario.result(folder), len(server.requests)
    shutil.rmtree(folder / "out", ignore_errors=True)
    server.requests.clear()
    with _data(folder / "data"):
        had = set(_written(folder))
        written: set[str] = set()
        while True:
            before = len(server.requests)
            running = scenario.start(made, folder, *arguments)
            if sum(outcome.kills.values()) < kills:
                _kill(running, server, draw, outcome, most=max(2, 2 * whole // max(1, kills)))
            running.join(120)
            again = {key(request) for request in server.requests[before:] if request.body}
            outcome.again += len(again & written)
            found = set(_written(folder)) - had
            outcome.lost += len(written - found)
            written = found
            if running.exitcode == 0:
                break
            assert running.exitcode in _ENDS, _output(folder)
        outcome.calls = sum(bool(request.body) for request in server.requests)
        outcome.is_same = scenario.result(folder) == expected
        outcome.booked = _booked(folder, name)
    return outcome


def _kill(running: BaseProcess, server: ScriptedServer, draw: random.Random, outcome: Outcome, *, most: int) -> None:
    """Some are killed between calls, some while many are under way, some before the first."""
    before, after = len(server.requests), draw.randrange(most)
    while running.is_alive() and len(server.requests) < before + after:
        time.sleep(0.002)
    time.sleep(draw.random() * 2 * _ANSWER_SECONDS)
    how = draw.choice(HOW)
    if not running.is_alive():
        return
    began, had = time.monotonic(), len(server.requests)
    os.kill(running.pid or 0, how)
    outcome.kills[how.name] += 1
    running.join(120)
    if how != signal.SIGKILL:
        outcome.slowest_stop = max(outcome.slowest_stop, time.monotonic() - began)
        outcome.late = max(outcome.late, len(server.requests) - had)


def _end(running: BaseProcess, folder: Path) -> None:
    running.join(300)
    assert running.exitcode == 0, _output(folder)


def _output(folder: Path) -> str:
    file = folder / "out.txt"
    return file.read_text()[-2000:] if file.exists() else ""


@contextmanager
def _data(folder: Path) -> Iterator[None]:
    before = os.environ["HYPERALIGN_DATA"]
    os.environ["HYPERALIGN_DATA"] = str(folder)
    try:
        yield
    finally:
        os.environ["HYPERALIGN_DATA"] = before


def _written(folder: Path) -> Iterator[str]:
    """The ids of the answers that are in journals."""
    for file in [*(folder / "data" / "runs").glob("*/calls.jsonl"), *(folder / "out").glob("calls.jsonl")]:
        for line in file.read_text().splitlines():
            try:
                yield json.loads(line)["value"]["id"]
            except ValueError:
                continue  # torn by the kill


def _booked(folder: Path, name: str) -> int:
    files = [*(folder / "data" / "runs").glob(f"{name}-*/cost.json"), *(folder / "out").glob("cost.json")]
    return sum(step["calls"] for file in files for step in json.loads(file.read_text()).values())
