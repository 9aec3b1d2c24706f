"""What an adapter is worth beside its teacher: on the prompts that were kept from training, for each of its people.

Four writers answer the same prompts: the teacher with the profile before it, the student alone, the student with the
profile, and the student with the adapter and no profile. Answers are kept as they end, and an interrupted run goes on.
Each is cut to the same number of words before it is scored, so that no limit of tokens decides. Intervals are over
prompts. It prints Markdown. Run it from the repository's folder with:
python -m benches.distillation adapters/letters --people examples/people --teacher vllm:http://127.0.0.1:8000 --out runs
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from hyperalign.backends.runtimes.connect import connect
from hyperalign.backends.training.adapters import open_adapter, open_base
from hyperalign.backends.training.collect import Teacher, collect
from hyperalign.backends.training.hardware import find_hardware
from hyperalign.backends.training.probe import with_adapter
from hyperalign.backends.training.rows import Scope
from hyperalign.backends.training.student import load_student
from hyperalign.backends.training.writing import answers, prompt_tokens
from hyperalign.budget import Budget
from hyperalign.evals.metrics.authorship import Authorship, cut
from hyperalign.evals.metrics.style_distance import style_distance
from hyperalign.evals.statistics import Estimate, difference, estimate
from hyperalign.files import append_line, read_journal
from hyperalign.profile import Profile
from hyperalign.programs.generate import Generate
from hyperalign.programs.strategies import strategy
from hyperalign.reading import read_records
from hyperalign.records import Sample
from hyperalign.style import likeness

ARMS = ("teacher with profile", "student", "student with profile", "student with adapter")
WORDS = 100
Case = tuple[Profile, str]


class Answers:
    """The answers of all arms, in a file; ``of`` says whose they are, and answers of others are passed over."""

    def __init__(self, path: Path, of: str) -> None:
        self._path, self._of = path, of
        rows = (row for row in read_journal(path) if row.get("of") == of)
        self.known = {(row["arm"], row["user"], row["prompt"]): row for row in rows}

    def missing(self, arm: str, cases: Sequence[Case]) -> list[Case]:
        """What an arm was not asked yet."""
        return [(person, prompt) for person, prompt in cases if (arm, person.user, prompt) not in self.known]

    def add(self, arm: str, case: Case, answer: str, tokens: float, seconds: float) -> None:
        """Keep an answer."""
        person, prompt = case
        row = {"of": self._of, "arm": arm, "user": person.user, "prompt": prompt, "answer": answer, "tokens": tokens}
        append_line(self._path, json.dumps({**row, "seconds": round(seconds, 2)}))
        self.known[arm, person.user, prompt] = row | {"seconds": seconds}


def ask_teacher(kept: Answers, teacher: Teacher, cases: Sequence[Case], path: Path, budget: Budget) -> None:
    """The teacher with the profile; tokens and seconds are means over what was asked now."""
    missing = kept.missing(ARMS[0], cases)
    if not missing:
        return
    began = time.perf_counter()
    people = list({person.user: person for person, _ in cases}.values())
    found = collect(teacher, people, list(dict.fromkeys(prompt for _, prompt in cases)), path, budget=budget)
    calls = max(1, budget.spent.calls)
    said = {(trace.user, trace.prompt): trace.answer for trace in found}
    for person, prompt in missing:
        tokens, seconds = budget.spent.tokens_in / calls, (time.perf_counter() - began) / calls
        kept.add(ARMS[0], (person, prompt), said[person.user, prompt], tokens, seconds)


def ask_student(kept: Answers, folder: Path, cases: Sequence[Case], max_new: int) -> None:
    """The student alone, with the profile, and with the adapter."""
    card = open_adapter(folder).card
    # The student with the profile is asked as the teacher is, instructions included.
    scope, told = Scope(card.scope, card.prefixes), Generate(strategy(card.strategy), scorer=None)
    model, tokenizer = load_student(open_base(card))
    model.to(find_hardware().device)
    for arm in ARMS[1:]:
        if arm == ARMS[3]:
            model = with_adapter(model, folder)
        for person, prompt in kept.missing(arm, cases):
            turns = told.messages(person, prompt) if arm == ARMS[2] else scope.messages(person.user, prompt)
            began = time.perf_counter()
            (said,) = answers(model, tokenizer, [turns], max_new=max_new)
            seconds = time.perf_counter() - began
            kept.add(arm, (person, prompt), said, prompt_tokens(tokenizer, [turns]), seconds)


def scores(
    kept: Answers, cases: Sequence[Case], score: Callable[[Profile, str], float]
) -> dict[str, dict[str, list[float]]]:
    """By arm and prompt: a score of each answer, over its first words."""
    found: dict[str, dict[str, list[float]]] = {arm: {} for arm in ARMS}
    for arm in ARMS:
        for person, prompt in cases:
            answer = cut(kept.known[arm, person.user, prompt]["answer"], WORDS)
            found[arm].setdefault(prompt, []).append(score(person, answer))
    return found


def table(kept: Answers, cases: Sequence[Case], people: Sequence[Path]) -> Iterator[str]:
    """The table and what follows from it, as Markdown."""
    authors = Authorship(own_texts(people), words=WORDS)
    nats = scores(kept, cases, lambda person, answer: likeness(answer, person.style))
    far = scores(kept, cases, lambda person, answer: style_distance(answer, person))
    named = scores(kept, cases, lambda person, answer: float(authors.author(answer) == person.user))
    yield "| | like the person, nats | style distance | taken for theirs | prompt tokens | seconds |"
    yield "|---|---|---|---|---|---|"
    for arm in ARMS:
        rows = [kept.known[arm, person.user, prompt] for person, prompt in cases]
        share = estimate(named[arm], share=True)
        cells = [
            said(estimate(nats[arm]), 2),
            said(estimate(far[arm]), 2),
            f"{share.mean:.0%} ({share.low:.0%} to {share.high:.0%})",
            f"{_mean(row['tokens'] for row in rows):.0f}",
            f"{_mean(row['seconds'] for row in rows):.1f}",
        ]
        yield f"| {arm} | {' | '.join(cells)} |"
    yield ""
    gain = difference(nats[ARMS[3]], nats[ARMS[1]])
    most = difference(nats[ARMS[0]], nats[ARMS[1]])
    told = difference(nats[ARMS[3]], nats[ARMS[2]])
    yield f"- the adapter over the student alone: {said(gain, 2)} nats"
    yield f"- the teacher with profile over the student alone: {said(most, 2)} nats"
    yield f"- the adapter's gain as a share of the teacher's: {gain.mean / most.mean:.0%}"
    wanted = {prompt: [0.9 * t + 0.1 * s for t, s in zip(nats[ARMS[0]][prompt], nats[ARMS[1]][prompt], strict=True)]
              for prompt in nats[ARMS[0]]}  # fmt: skip
    yield f"- the adapter over 90 % of that gain: {said(difference(nats[ARMS[3]], wanted), 2)} nats"
    yield f"- the adapter over the student with profile: {said(told, 2)} nats"


def own_texts(files: Sequence[Path]) -> dict[str, list[str]]:
    """By person, what they wrote: ``NAME.jsonl`` of each."""
    return {
        path.stem: [
            record.text for record in read_records([path], user=path.stem).records if isinstance(record, Sample)
        ]
        for path in files
    }


def said(found: Estimate, digits: int) -> str:
    """A mean with its interval."""
    return f"{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _mean(values: Iterable[Any]) -> float:
    return fmean(float(value) for value in values)


def main() -> None:
    """Ask what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=Path, help="the adapter's folder, with the files of its training")
    parser.add_argument("--people", type=Path, required=True, help="the people's own texts: NAME.jsonl of each")
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--out", type=Path, required=True, help="where the answers are kept")
    parser.add_argument("--max-new", type=int, default=200, help="tokens of a student's answer")
    parser.add_argument("--at-once", type=int, default=1, help="prompts that the teacher is asked at a time")
    asked = parser.parse_args()
    run = asked.adapter / "training"
    people = [
        Profile.from_json(json.dumps(person), where="people.json")
        for person in json.loads((run / "people.json").read_text(encoding="utf-8"))
    ]
    prompts = json.loads((run / "split.json").read_text(encoding="utf-8"))["prompts"]["report"]
    cases = [(person, prompt) for person in people for prompt in prompts]
    asked.out.mkdir(parents=True, exist_ok=True)
    whose = f"{open_adapter(asked.adapter).sha256[:12]} {asked.teacher} {asked.max_new}"
    kept = Answers(asked.out / "answers.jsonl", whose)
    ask_student(kept, asked.adapter, cases, asked.max_new)
    budget, told = Budget(), strategy(open_adapter(asked.adapter).card.strategy)
    teacher = Teacher(connect(asked.teacher, budget=budget), told, at_once=asked.at_once)
    ask_teacher(kept, teacher, cases, asked.out / "teacher.jsonl", budget)
    files = [asked.people / f"{person.user}.jsonl" for person in people]
    print(f"{len(people)} people, {len(prompts)} prompts that nobody was trained on.\n")
    print("\n".join(table(kept, cases, files)))


if __name__ == "__main__":
    main()
