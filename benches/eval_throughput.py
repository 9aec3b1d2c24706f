"""Tokens a second of an eval against a model server, beside a bare asyncio client on the same prompts.

Both keep as many requests in the air, ask for the same number of tokens and start from the same cold prompts, in turn.
Prints figures; judges nothing. Run it with: python benches/eval_throughput.py http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import dspy
import httpx

from hyperalign.backends.models.connect import connect
from hyperalign.budget import Budget
from hyperalign.evals.cases import Case
from hyperalign.evals.conditions import NONE, Conditions
from hyperalign.evals.metrics.authorship import AuthorshipMetrics
from hyperalign.evals.runner import run_cases
from hyperalign.evals.solvers.writing import WritingSolver
from hyperalign.profile import Profile
from hyperalign.programs.generate import MAX_TOKENS

TOPICS = (
    "a river in winter",
    "the first day at work",
    "an old radio",
    "bread",
    "a train that is late",
    "a garden at night",
)
TEXTS = {
    "ann": [
        "I was glad to see you, and I hope that you will come again.",
        "I do not know; but I am sure that it will do.",
    ],
    "ben": ["Pump broke. Fixed it. Parts needed.", "Late again. No reason given. Noted."],
}


def prompts(count: int, turn: int) -> list[str]:
    """Prompts that no turn before has asked, so that nothing is answered from a cache."""
    return [f"Write six sentences about {TOPICS[n % len(TOPICS)]}. This is number {turn}-{n}." for n in range(count)]


async def bare(base: str, model: str, asked: list[str], concurrency: int) -> tuple[int, float]:
    """Completion tokens and seconds of a client that does nothing else."""
    gate = asyncio.Semaphore(concurrency)
    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(base_url=base, timeout=600, limits=limits) as client:

        async def ask(prompt: str) -> int:
            body = {
                "model": model,
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": MAX_TOKENS,
                "temperature": 0.0,
            }
            async with gate:
                answer = await client.post("/v1/chat/completions", json=body)
            return int(answer.raise_for_status().json()["usage"]["completion_tokens"])

        started = time.perf_counter()
        tokens = sum(await asyncio.gather(*(ask(prompt) for prompt in asked)))
        return tokens, time.perf_counter() - started


def evaluated(base: str, asked: list[str], concurrency: int) -> tuple[int, float]:
    """The same prompts as writing cases, each answered, measured and written down."""
    cases = [Case(f"c{n}", "ann", "ann", prompt, (), reference="It is so.") for n, prompt in enumerate(asked)]
    conditions = Conditions({}, lambda records: Profile(user="ann"), controls=(NONE,))
    work = WritingSolver(conditions, AuthorshipMetrics.train(TEXTS))
    budget = Budget()
    with tempfile.TemporaryDirectory() as folder, dspy.context(lm=connect(f"vllm:{base}", budget=budget)):
        started = time.perf_counter()
        run_cases(cases, work, Path(folder) / "cases.jsonl", concurrency=concurrency)
        return budget.spent.tokens_out, time.perf_counter() - started


def main(base: str, count: int, concurrency: int, turns: int) -> None:
    """Print a line a turn, and the share of all of them."""
    model = httpx.get(f"{base}/v1/models").json()["data"][0]["id"]
    asyncio.run(bare(base, model, prompts(concurrency, -1), concurrency))
    totals = {"bare": (0, 0.0), "eval": (0, 0.0)}
    for turn in range(turns):
        order = ("bare", "eval") if turn % 2 == 0 else ("eval", "bare")
        for place, name in enumerate(order):
            asked = prompts(count, 2 * turn + place)
            tokens, seconds = (
                asyncio.run(bare(base, model, asked, concurrency))
                if name == "bare"
                else evaluated(base, asked, concurrency)
            )
            totals[name] = (totals[name][0] + tokens, totals[name][1] + seconds)
            print(f"{name}: {tokens:,} tokens in {seconds:.1f} s, {tokens / seconds:.0f} tokens a second", flush=True)
    rates = {name: tokens / seconds for name, (tokens, seconds) in totals.items()}
    print(f"the eval reaches {rates['eval'] / rates['bare']:.0%} of the bare client ({concurrency} at once)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="the server's address")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--turns", type=int, default=2)
    asked_for = parser.parse_args()
    main(asked_for.base.rstrip("/"), asked_for.prompts, asked_for.concurrency, asked_for.turns)
