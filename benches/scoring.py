"""What it costs to score hypotheses on records, by layout and by runtime.

Two layouts of the same question, "does this statement fit this person?":

- forward: the statement is the system turn and the record's text the continuation; the
  text is read again for every statement.
- reverse: the record is the user turn and the statements are the continuations; the
  record is read once, however many statements follow.

Run it as ``python benches/scoring.py MODEL.gguf [--runtime hf] [--layouts reverse] …``.
It prints one Markdown row a measurement. Nothing here is a timed test.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

from hyperalign.backends.models.scorers import OpenVINOScorer
from hyperalign.backends.models.scorers.hf import HFScorer
from hyperalign.budget import Budget
from hyperalign.scores import Message

PEOPLE = Path(__file__).parent.parent / "examples" / "people"
QUESTION = "What is true of the person who wrote this?"
MANNERS = (
    "formal greetings",
    "dry jokes",
    "long winding sentences",
    "exact figures",
    "family stories",
    "short commands",
)
SHOWN = ("before saying what they want", "even when the matter is serious", "to keep the reader at a distance")


def records(words: int, count: int) -> list[tuple[str, str]]:
    """Prompt and excerpt of the example people's pieces, cut to ``words`` words."""
    rows = [json.loads(line) for path in sorted(PEOPLE.glob("*.jsonl")) for line in path.read_text().splitlines()]
    random.Random(0).shuffle(rows)
    return [(row.get("prompt") or "Write a letter.", " ".join(row["text"].split()[:words])) for row in rows[:count]]


def statements(count: int) -> list[str]:
    """Statements of about twenty tokens, all different."""
    verbs = ("relies on", "avoids")
    every = [
        f"The writer {v} {m} {s}, and expects the reader to notice it." for s in SHOWN for v in verbs for m in MANNERS
    ]
    return every[:count]


def asks(layout: str, hypotheses: list[str], found: list[tuple[str, str]]) -> Iterator[tuple[list[Message], list[str]]]:
    """The calls that fill the matrix of records and hypotheses."""
    if layout == "reverse":
        for _, text in found:
            yield [{"role": "user", "content": f"{text}\n\n{QUESTION}"}], hypotheses
        return
    for hypothesis in hypotheses:
        for prompt, text in found:
            yield [{"role": "system", "content": hypothesis}, {"role": "user", "content": prompt}], [text]


def open_scorer(args: argparse.Namespace, budget: Budget) -> Any:
    """The runtime that the command line names."""
    if args.runtime == "hf":
        if args.threads:
            import_module("torch").set_num_threads(args.threads)
        return HFScorer(args.model, name="bench", dtype=args.dtype, budget=budget)
    return OpenVINOScorer(args.model, name="bench", threads=args.threads, budget=budget)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a GGUF file, or for hf a checkpoint folder")
    parser.add_argument("--runtime", choices=("openvino", "hf"), default="openvino")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="for hf")
    parser.add_argument("--threads", type=int, help="all this process may use unless given")
    parser.add_argument("--layouts", nargs="+", choices=("forward", "reverse"), default=["reverse", "forward"])
    parser.add_argument("--hypotheses", nargs="+", type=int, default=[6, 12, 24])
    parser.add_argument("--records", type=int, default=8)
    parser.add_argument("--words", type=int, default=120)
    args = parser.parse_args()

    budget = Budget()
    found = records(args.words, args.records)
    with closing(open_scorer(args, budget)) as scorer:
        scorer.score([{"role": "user", "content": "Warm up."}], ["Done."])
        print(
            "| runtime | layout | hypotheses | records | scored tokens | tokens read | seconds"
            " | read tok/s | processor s |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for layout in args.layouts:
            for count in args.hypotheses:
                before, wall, work = budget.spent, time.perf_counter(), time.process_time()
                scored = 0
                for context, texts in asks(layout, statements(count), found):
                    scored += sum(score.tokens for score in scorer.score(context, texts))
                seconds, work = time.perf_counter() - wall, time.process_time() - work
                spent = budget.spent
                read = (spent.tokens_in - spent.tokens_cached) - (before.tokens_in - before.tokens_cached)
                print(
                    f"| {args.runtime} | {layout} | {count} | {len(found)} | {scored} | {read} "
                    f"| {seconds:.1f} | {read / seconds:.0f} | {work:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
