"""Fits many people against a scripted endpoint: the share of what the endpoint allows, and the CPU that a person takes.

The endpoint answers in a process of its own after a fixed delay. Run it alone on a machine:

    python -m benches.many_people                            # 1,000 people, 0.3 s a call, 16 calls at once
    python -m benches.many_people --people 200 --kills 10    # killed again and again, and started again
    python -m benches.many_people --ray 1,2                  # on Ray, with one worker and with two
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.backends.batch.crowd import said, texts
from tests.fixtures.scripted_server import reply, serving


def serve(pipe: Any, delay: float) -> None:
    """Answer in a process of its own; says how many requests came whenever it is asked."""
    with serving() as server:
        server.default = reply(said, delay=delay, tokens_in=400)
        pipe.send(server.base)
        while True:
            pipe.recv()
            pipe.send((len(server.requests), len({json.dumps(each.body) for each in server.requests})))
            server.requests.clear()


def write(path: Path, people: int, records: int) -> None:
    """A JSONL file of everybody."""
    lines = [{"user": f"p{person:05}", "text": text} for person in range(people) for text in texts(person, records)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def command(home: Path, base: str, *more: str) -> subprocess.Popen[str]:
    """Start the fit of everybody as a user would."""
    environment = {
        "HYPERALIGN_DATA": str(home / "data"),
        "HYPERALIGN_CACHE": str(home / "cache"),
        "HYPERALIGN_CONFIG": str(home / "config.toml"),
        "HYPERALIGN_REDACT": "0",
        "OPENAI_API_KEY": "k",
    }
    given = ["fit", str(home / "people.jsonl"), "--all-users", "--encoder", "none", "--json"]
    model = ["--model", "openai/any", "--api-base", base, "--scorer", "none"]
    return subprocess.Popen(
        [sys.executable, "-m", "hyperalign", *given, *model, *more],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(home: Path, base: str, *more: str) -> tuple[dict[str, Any], float, float]:
    """What the command says, its seconds and its seconds of CPU."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = command(home, base, *more)
    out, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"{more} ended with {process.returncode}: {err[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(out), time.monotonic() - began, cpu


def versions(home: Path) -> list[int]:
    """How many versions of each person's profile the store has."""
    from hyperalign.store import Store

    with Store(home / "data" / "store.sqlite") as store:
        return [person.versions for person in store.users()]


def throughput(asked: argparse.Namespace, home: Path, base: str, pipe: Any) -> None:
    """One run, against what the endpoint allows."""
    found, seconds, cpu = run(home, base, "--concurrency", str(asked.concurrency))
    pipe.send(None)
    calls = pipe.recv()[0]
    ideal, busy, people = calls * asked.delay / asked.concurrency, found["seconds"], found["people"]
    print(f"{people} people, {calls} calls ({calls / people:.1f} a person), {found['failed']} failed")
    print(f"wall {seconds:.1f} s, {busy:.1f} s of them fitting; the endpoint allows {ideal:.1f} s")
    print(f"share of what it allows: {ideal / busy:.0%}, with start-up and reading {ideal / seconds:.0%}")
    print(f"CPU {cpu:.1f} s: {1000 * cpu / people:.0f} ms a person, {1000 * cpu / max(1, calls):.1f} ms a call")
    print(f"one process saturates near {calls / cpu:.0f} calls a second")


def kills(asked: argparse.Namespace, home: Path, base: str, pipe: Any) -> None:
    """Killed at random moments, then left to end."""
    draw, killed = random.Random(asked.seed), 0
    whole = asked.people * 31 * asked.delay / asked.concurrency
    while killed < asked.kills:
        process = command(home, base, "--concurrency", str(asked.concurrency))
        try:
            process.wait(4 + draw.random() * whole / asked.kills)
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
    found, _, _ = run(home, base, "--concurrency", str(asked.concurrency))
    pipe.send(None)
    calls, distinct = pipe.recv()
    saved = versions(home)
    again, lost, twice = calls - distinct, sum(number == 0 for number in saved), sum(number > 1 for number in saved)
    print(
        f"killed {killed} times: {found['people']} people, {found['failed']} failed, {lost} lost, {twice} fitted twice"
    )
    print(f"{calls} calls, {again} of them twice, which a kill had cut off")


def on_ray(asked: argparse.Namespace, home: Path, base: str) -> None:
    """The same with one worker and more; without statements the work is all CPU."""
    for kind in (["--no-statements"], []):
        first = 0.0
        for workers in asked.ray.split(","):
            (home / "data").rename(home / f"before-{time.monotonic_ns()}") if (home / "data").exists() else None
            calls = str(asked.concurrency * int(workers))
            more = ["--engine", "ray", "--workers", workers, "--concurrency", calls, *kind]
            found, seconds, cpu = run(home, base, *more)
            busy = found["seconds"]
            first = first or busy
            print(f"Ray, {workers} worker(s){' --no-statements' if kind else ''}: {busy:.1f} s of fitting ", end="")
            print(
                f"({seconds:.1f} s in all, CPU {cpu:.1f} s), {first / busy:.2f} times, versions {set(versions(home))}"
            )


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--people", type=int, default=1_000)
    arguments.add_argument("--records", type=int, default=8)
    arguments.add_argument("--delay", type=float, default=0.3, help="seconds that the endpoint takes for a call")
    arguments.add_argument("--concurrency", type=int, default=16)
    arguments.add_argument("--kills", type=int, default=0)
    arguments.add_argument("--ray", default="", help="numbers of workers, such as 1,2")
    arguments.add_argument("--seed", type=int, default=0)
    asked = arguments.parse_args()
    here, there = get_context("spawn").Pipe()
    get_context("spawn").Process(target=serve, args=(there, asked.delay), daemon=True).start()
    base = here.recv()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write(home / "people.jsonl", asked.people, asked.records)
        if asked.ray:
            on_ray(asked, home, base)
        elif asked.kills:
            kills(asked, home, base, here)
        else:
            throughput(asked, home, base, here)


if __name__ == "__main__":
    main()
