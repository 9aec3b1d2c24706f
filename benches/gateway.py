"""What the gateway costs beside the bare LiteLLM proxy, that it mixes nobody up, and that a kill loses nothing.

    python benches/gateway.py                                    # all parts at full size, alone on the machine
    python benches/gateway.py --part latency --requests 200      # one part, small

Both proxies run with one config, but for our two lines, before one upstream on loopback. The upstream checks in each
request that the one mark in it is that of the person who asks. Parts: ``latency`` (one request at a time, in turns),
``streams`` (answers of 64 streams at once), ``people`` (many requests of many people at once), and ``kills``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from hyperalign.backends.gateway.outcomes import Outcomes
from hyperalign.profile import Hypothesis, Profile
from hyperalign.store import Store

KEY = "sk-bench"
PIECES = 20
PROXY = "from litellm.proxy.proxy_cli import run_server; run_server()"
ENTRY = "from hyperalign.cli import main; main()"


def mark(number: int) -> str:
    """What stands in one person's profile alone."""
    return f"mark{number:06d}"


# The upstream: an ASGI application in a process of its own.


async def upstream(scope: Any, receive: Any, send: Any) -> None:
    """Answer a chat completion: ``ok`` if the marks in it are those that its last turn wants."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    request = json.loads(body)
    last = request["messages"][-1]["content"]
    wanted = re.findall(r"I am (\d+)", last)
    found = set(re.findall(r"mark(\d{6})", json.dumps(request["messages"][:-1])))
    said = "ok" if found == {f"{int(number):06d}" for number in wanted} else "mixed"
    head = {"id": f"x-{time.time_ns()}", "created": 0, "model": "bench"}
    if not request.get("stream"):
        message = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
        answer = json.dumps({**head, "object": "chat.completion", "choices": [message], "usage": usage}).encode()
        await _start(send, b"application/json")
        await send({"type": "http.response.body", "body": answer})
        return
    await _start(send, b"text/event-stream")
    for number in range(PIECES):
        delta = {"role": "assistant", "content": said if number == 0 else "."}
        chunk = {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
        await send({"type": "http.response.body", "body": f"data: {json.dumps(chunk)}\n\n".encode(), "more_body": True})
        await asyncio.sleep(0.01)
    if (request.get("stream_options") or {}).get("include_usage"):
        usage = {"prompt_tokens": 10, "completion_tokens": PIECES, "total_tokens": 10 + PIECES}
        chunk = {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}
        await send({"type": "http.response.body", "body": f"data: {json.dumps(chunk)}\n\n".encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _start(send: Any, kind: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], port: int, log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, once its port is open."""
    with log.open("ab") as written:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=written, stderr=written)
    try:
        until = time.monotonic() + 180
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{command[-1]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait()


class Setting:
    """The upstream's address, the store, and the processes' environment."""

    def __init__(self, folder: Path, people: int) -> None:
        self.folder = folder
        self.place = folder / "store.sqlite"
        self.upstream_port = free_port()
        own = {name: value for name, value in os.environ.items() if not name.startswith("HYPERALIGN_")}
        self.environment = own | {
            "HYPERALIGN_STORE": str(self.place),
            "HYPERALIGN_DATA": str(folder / "data"),
            "HYPERALIGN_REDACT": "0",
            "HYPERALIGN_ENCODER": "none",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
        }
        filler = "Prefers an answer of a certain kind, told from others by words like these."
        with Store(self.place) as store:
            for number in range(people):
                said = [
                    Hypothesis(id=f"h{at}", statement=f"{filler} {at} {mark(number)}", aspect="style", weight=0.5)
                    for at in range(8)
                ]
                store.save(Profile(user=f"person {number}", hypotheses=said))

    @contextmanager
    def proxy(self, name: str, *, ours: bool) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
        """A proxy; yields its address and process."""
        called = {"model": "openai/bench", "api_base": f"http://127.0.0.1:{self.upstream_port}/v1", "api_key": "k"}
        config = {
            "model_list": [{"model_name": "bench", "litellm_params": called}],
            "general_settings": {"master_key": KEY},
            "litellm_settings": {"callbacks": "hyperalign.backends.gateway.personalize"} if ours else {},
        }
        path, port = self.folder / f"{name}.yaml", free_port()
        path.write_text(json.dumps(config))
        options = ["--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
        command = [sys.executable, "-P", "-c", PROXY, *options]
        with running(command, port, self.folder / f"{name}.log", self.environment) as process:
            yield f"http://127.0.0.1:{port}/v1", process

    def command(self, *arguments: str) -> list[str]:
        """A command of ours."""
        return [sys.executable, "-P", "-c", ENTRY, *arguments]


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {KEY}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=120),
    )


async def ask(
    client: aiohttp.ClientSession, base: str, number: int, *, stream: bool = False, known: bool = True
) -> str:
    """What a person is answered; an error's status if there was one."""
    words = f"I am {number}." if known else "Hello."
    body = {"model": "bench", "user": f"person {number}", "messages": [{"role": "user", "content": words}]}
    async with client.post(f"{base}/chat/completions", json={**body, "stream": stream}) as response:
        text = await response.text()
        if response.status != 200:
            return f"status {response.status}: {text[:200]}"
        if not stream:
            return str(json.loads(text)["choices"][0]["message"]["content"])
        lines = [line for line in text.splitlines() if line.startswith("data: {")]
        return "".join(each["delta"].get("content") or "" for line in lines for each in json.loads(line[6:])["choices"])


def processor_ms(process: int) -> float:
    """Processor time that a process has used, which other work hardly changes; NaN where there is no /proc."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


async def measure_latency(bases: dict[str, str], pids: dict[str, int], requests: int, people: int) -> None:
    """One request at a time, the proxies in turns, so that both meet the same minutes."""
    took: dict[str, list[float]] = {name: [] for name in bases}
    used: dict[str, float] = {}
    async with session() as client:
        for at in range(requests + 50):
            if at == 50:
                used = {name: processor_ms(pid) for name, pid in pids.items()}
            for name, base in sorted(bases.items(), reverse=bool(at % 2)):
                began = time.perf_counter()
                await ask(client, base, at % people, known=name == "gateway")
                if at >= 50:
                    took[name].append((time.perf_counter() - began) * 1000)
    print(f"latency of {requests} requests, ms{'p50':>14}{'p90':>8}{'p99':>8}")
    quantiles = {name: statistics.quantiles(each, n=100) for name, each in took.items()}
    for name, each in quantiles.items():
        print(f"  {name:<32}{each[49]:>8.1f}{each[89]:>8.1f}{each[98]:>8.1f}")
    spent = {name: (processor_ms(pid) - used[name]) / requests for name, pid in pids.items()}
    print(f"  processor ms a request: bare {spent['bare']:.1f}, gateway {spent['gateway']:.1f}")
    apart = [quantiles["gateway"][at] - quantiles["bare"][at] for at in (49, 89, 98)]
    print(f"  {'overhead (at most 5 and 25)':<32}{apart[0]:>8.1f}{apart[1]:>8.1f}{apart[2]:>8.1f}")


async def gather(count: int, at_once: int, work: Callable[[int], Any]) -> list[Any]:
    """Results of numbered works, some at once."""
    numbers = iter(range(count))
    results: list[Any] = []

    async def worker() -> None:
        for number in numbers:
            results.append(await work(number))

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return results


async def measure_streams(bases: dict[str, str], streams: int, rounds: int, people: int) -> None:
    """Streams at once, by turns: streams a second of either proxy."""
    rates: dict[str, list[float]] = {name: [] for name in bases}
    async with session() as client:
        for number in range(rounds + 1):
            for name, base in sorted(bases.items(), reverse=bool(number % 2)):
                began = time.perf_counter()
                is_ours = name == "gateway"

                async def one(at: int, base: str = base, is_ours: bool = is_ours) -> str:
                    return await ask(client, base, at % people, stream=True, known=is_ours)

                said = await gather(4 * streams, streams, one)
                if odd := [each for each in said if not each.startswith("ok")]:
                    raise SystemExit(f"{name}: {len(odd)} bad streams, such as {odd[0]}")
                if number:
                    rates[name].append(4 * streams / (time.perf_counter() - began))
    medians = {name: statistics.median(each) for name, each in rates.items()}
    print(f"{streams} streams at once, {rounds} rounds: " + ", ".join(f"{n} {m:.1f}/s" for n, m in medians.items()))
    print(f"  gateway over bare: {medians['gateway'] / medians['bare']:.1%} (at least 95 %)")


async def measure_people(base: str, requests: int, people: int, at_once: int) -> None:
    """Many requests of many people: failures and mix-ups."""
    async with session() as client:
        began = time.perf_counter()
        said = await gather(requests, at_once, lambda at: ask(client, base, at * 7919 % people))
        took = time.perf_counter() - began
    failed = [each for each in said if each.startswith("status")]
    print(f"{requests} requests by {people} people, {at_once} at once: {took:.0f} s, {len(failed)} failed, ", end="")
    print(f"{said.count('mixed')} with another's profile or without their own")
    if failed:
        print(f"  such as {failed[0]}")


async def send_feedback(base: str, stop: asyncio.Event, kept: list[tuple[str, str]], start: int, people: int) -> None:
    """Feedback without end; what was acknowledged is noted."""
    async with session() as client:
        number = start
        while not stop.is_set():
            number += 1
            user, name = f"person {number % people}", f"f{number}"
            body = {"user": user, "id": name, "draft": f"It is {number}, in a way.", "edited": f"{number}."}
            try:
                async with client.post(f"{base}/feedback", json={**body, "prompt": f"Question {number}?"}) as response:
                    if response.status == 200:
                        kept.append((user, name))
            except (TimeoutError, aiohttp.ClientError):
                await asyncio.sleep(0.02)


async def kill_under_load(process: subprocess.Popen[bytes], base: str, kept: list[Any], turn: int, people: int) -> None:
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(send_feedback(base, stop, kept, turn * 10_000_000 + at * 1_000_000, people))
        for at in range(16)
    ]
    await asyncio.sleep(1.5 + turn % 5 * 0.3)
    process.send_signal(signal.SIGKILL)
    await asyncio.sleep(0.2)
    stop.set()
    await asyncio.gather(*tasks)


def measure_kills(setting: Setting, kills: int, people: int) -> None:
    """Kill the proxy under load, and the learner at work; then compare what was acknowledged with what is there."""
    kept: list[tuple[str, str]] = []
    for turn in range(kills):
        with setting.proxy("gateway", ours=True) as (base, process):
            asyncio.run(kill_under_load(process, base, kept, turn, people))
        learner = subprocess.Popen(
            setting.command("gateway", "learn", "--no-statements"),
            env=setting.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(2 + turn % 4)
        os.killpg(learner.pid, signal.SIGKILL)
        learner.wait()
    subprocess.run(setting.command("gateway", "learn", "--no-statements"), env=setting.environment, check=True)
    outcomes = Outcomes(setting.place)
    there = {(f"person {at}", said.id) for at in range(people) for said in outcomes.feedback(f"person {at}")}
    lost, twice, untaught = set(kept) - there, 0, 0
    with Store(setting.place) as store:
        for at in range(people):
            user = f"person {at}"
            ids = [record.id for record in store.records(user)]
            reward = store.load(user).reward if ids else None
            rows = [row.record for row in reward.rows] if reward else []
            twice += len(ids) - len(set(ids)) + len(rows) - len(set(rows))
            untaught += len({f"feedback-{name}" for who, name in there if who == user} - set(rows))
    outcomes.close()
    print(
        f"{kills} kills with {len(kept)} acknowledged: {len(lost)} lost, {twice} learned twice, {untaught} not learned"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("latency", "streams", "people", "kills"), action="append")
    parser.add_argument(
        "--requests", type=int, default=10_000, help="of the part 'people'; a fifth of them for latency"
    )
    parser.add_argument("--people", type=int, default=1_000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kill-people", type=int, default=8, help="who sends feedback while the proxy is killed")
    args = parser.parse_args()
    parts = args.part or ["latency", "streams", "people", "kills"]
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        folder = Path(name)
        setting = Setting(folder, args.people)
        port = str(setting.upstream_port)
        serve = f"import uvicorn, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import gateway; "
        serve += f"uvicorn.run(gateway.upstream, port={port}, log_level='warning', access_log=False)"
        with running([sys.executable, "-c", serve], int(port), folder / "upstream.log", setting.environment):
            if set(parts) - {"kills"}:
                with (
                    setting.proxy("bare", ours=False) as (bare, one),
                    setting.proxy("gateway", ours=True) as (ours, two),
                ):
                    bases, pids = {"bare": bare, "gateway": ours}, {"bare": one.pid, "gateway": two.pid}
                    if "latency" in parts:
                        asyncio.run(measure_latency(bases, pids, args.requests // 5, args.people))
                    if "streams" in parts:
                        asyncio.run(measure_streams(bases, args.at_once, args.rounds, args.people))
                    if "people" in parts:
                        asyncio.run(measure_people(ours, args.requests, args.people, args.at_once))
            if "kills" in parts:
                measure_kills(setting, args.kills, args.kill_people)


if __name__ == "__main__":
    main()
