"""What an adapter is worth beside its teacher: on the prompts that were kept from training, for each of its people.

Four writers answer the same prompts: the teacher with the profile before it, the student alone, the student with the
profile, and the student with the adapter and no profile. Answers are kept as they end, and an interrupted run goes on.
Each is cut to the same number of words before it is scored, and scored by what the beginning of a text shows, so that
no limit of tokens decides. The teacher is asked as ``generate`` asks: what copies an example is written anew, and its
runtime's own settings for writing hold; the student writes greedily. Prompt tokens are the student's, also of the
teacher's prompt; seconds are those of an answer, the teacher's with so many at a time as were asked for. Intervals are
over prompts. It prints Markdown. Run it from the repository's folder with:
python -m benches.distillation adapters/letters --people examples/people --teacher vllm:http://127.0.0.1:8000 --out runs
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import dspy

from hyperalign.backends.distill.adapters import Adapter, open_adapter, open_base
from hyperalign.backends.distill.collect import RewardMetric
from hyperalign.backends.distill.dataset import Scope
from hyperalign.backends.distill.probe import attach_adapter, generate_answers, mean_prompt_tokens
from hyperalign.backends.distill.recipe import find_hardware
from hyperalign.backends.distill.student import load_student
from hyperalign.backends.distill.traces import MIN_WORDS, is_repetitive
from hyperalign.backends.models.connect import connect
from hyperalign.concurrency import run_concurrently
from hyperalign.errors import InputError, ModelOutputError
from hyperalign.evals.metrics.authorship import Authorship, cut, style_distance
from hyperalign.evals.statistics import Estimate, difference, estimate, ratio
from hyperalign.files import append_line, read_journal
from hyperalign.ingest import read_records
from hyperalign.profile import Profile
from hyperalign.programs.generate import Generate
from hyperalign.programs.strategies import strategy
from hyperalign.records import Sample
from hyperalign.style import keep_opening_features
from hyperalign.style.claims import MAX_DEVIATIONS
from hyperalign.text import longest_copied_run

ARMS = ("teacher with profile", "student", "student with profile", "student with adapter")
WORDS = 100
Case = tuple[Profile, str]


class Answers:
    """The answers of all conditions, in a file; ``of`` says whose they are, and answers of others are passed over."""

    def __init__(self, path: Path, of: str) -> None:
        self._path, self._of = path, of
        rows = (row for row in read_journal(path) if row.get("of") == of)
        self.known = {(row["condition"], row["user"], row["prompt"]): row for row in rows}

    def missing(self, condition: str, cases: Sequence[Case]) -> list[Case]:
        """What a condition was not asked yet."""
        return [(person, prompt) for person, prompt in cases if (condition, person.user, prompt) not in self.known]

    def add(self, condition: str, case: Case, answer: str, tokens: float, seconds: float) -> None:
        """Keep an answer."""
        person, prompt = case
        row = {
            "of": self._of,
            "condition": condition,
            "user": person.user,
            "prompt": prompt,
            "answer": answer,
            "tokens": tokens,
        }
        append_line(self._path, json.dumps({**row, "seconds": round(seconds, 2)}))
        self.known[condition, person.user, prompt] = row | {"seconds": seconds}


@dataclass(frozen=True)
class Asked:
    """What everybody is asked.

    Attributes:
        cases: people and prompts.
        program: puts the profile before who is told of it.
        tokenizer: the student's.
        kept: the answers.
    """

    cases: Sequence[Case]
    program: Generate
    tokenizer: Any
    kept: Answers


def ask_teacher(asked: Asked, lm: dspy.LM, concurrency: int) -> None:
    """The teacher with the profile; an answer that is none stays one."""

    def ask(case: Case) -> tuple[Case, str, float]:
        person, prompt = case
        began = time.perf_counter()
        with dspy.context(lm=lm):
            try:
                answer = str(asked.program(prompt=prompt, profile=person).answer)
            except ModelOutputError:
                answer = ""
        return case, answer, time.perf_counter() - began

    def keep(found: tuple[Case, str, float]) -> None:
        (person, prompt), answer, seconds = found
        tokens = mean_prompt_tokens(asked.tokenizer, [asked.program.messages(person, prompt)])
        asked.kept.add(ARMS[0], (person, prompt), answer, tokens, seconds)

    run_concurrently(ask, asked.kept.missing(ARMS[0], asked.cases), concurrency, keep=keep)


def ask_student(asked: Asked, adapter: Adapter, model: Any, max_new_tokens: int) -> None:
    """The student alone, with the profile, and with the adapter, told of the person what its scope tells."""
    scope, alone = Scope(adapter.card.scope, adapter.card.prefixes), Scope("program")
    for condition in ARMS[1:]:
        if condition == ARMS[3]:
            model = attach_adapter(model, adapter.path)
        said: dict[str, tuple[str, float]] = {}
        for person, prompt in asked.kept.missing(condition, asked.cases):
            told = scope if condition == ARMS[3] else alone
            turns = (
                asked.program.messages(person, prompt) if condition == ARMS[2] else told.messages(person.user, prompt)
            )
            # It writes greedily: what was asked in the same words, as of the student alone for everybody, is answered.
            if (words := json.dumps(turns)) not in said:
                began = time.perf_counter()
                (new,) = generate_answers(model, asked.tokenizer, [turns], max_new_tokens=max_new_tokens)
                said[words] = new, time.perf_counter() - began
            answer, seconds = said[words]
            asked.kept.add(condition, (person, prompt), answer, mean_prompt_tokens(asked.tokenizer, [turns]), seconds)


def scores(
    kept: Answers, cases: Sequence[Case], score: Callable[[Profile, str, str], float]
) -> dict[str, dict[str, list[float]]]:
    """By condition and prompt: a score of each answer, over its first words."""
    found: dict[str, dict[str, list[float]]] = {condition: {} for condition in ARMS}
    for condition in ARMS:
        for person, prompt in cases:
            answer = cut(kept.known[condition, person.user, prompt]["answer"], WORDS)
            found[condition].setdefault(prompt, []).append(score(person, prompt, answer))
    return found


def table(kept: Answers, cases: Sequence[Case], texts: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The table and what follows from it, as Markdown."""
    authors = Authorship(texts, words=WORDS)
    reward = RewardMetric()
    nats = scores(kept, cases, lambda person, prompt, answer: reward(person, prompt, answer, is_cut=True))
    far = scores(kept, cases, _distance)
    resolve_strategies = scores(kept, cases, lambda person, _, answer: float(authors.author(answer) == person.user))
    yield (
        "| | reward, nats | style distance | taken for theirs | no answer | longest copied run | words "
        "| prompt tokens | seconds |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for condition in ARMS:
        rows = [kept.known[condition, person.user, prompt] for person, prompt in cases]
        copied = [longest_copied_run(row["answer"], texts[row["user"]]) for row in rows]
        share = estimate(resolve_strategies[condition], share=True)
        cells = [
            said(estimate(nats[condition]), 2),
            said(estimate(far[condition]), 2),
            f"{share.mean:.0%} ({share.low:.0%} to {share.high:.0%})",
            f"{sum(map(no_answer, (row['answer'] for row in rows)))} of {len(rows)}",
            f"{_mean(copied):.1f}, at most {max(copied)}",
            f"{_mean(len(row['answer'].split()) for row in rows):.0f}",
            f"{_mean(row['tokens'] for row in rows):.0f}",
            f"{_mean(row['seconds'] for row in rows):.1f}",
        ]
        yield f"| {condition} | {' | '.join(cells)} |"
    yield ""
    gain, most = _over(nats[ARMS[3]], nats[ARMS[1]]), _over(nats[ARMS[0]], nats[ARMS[1]])
    yield f"- the adapter over the student alone: {said(estimate(gain), 2)} nats"
    yield f"- the teacher with profile over the student alone: {said(estimate(most), 2)} nats"
    if estimate(most).mean > 0:
        part = ratio(gain, most)
        yield f"- the adapter's gain as a share of the teacher's: {part.mean:.0%} ({part.low:.0%} to {part.high:.0%})"
    else:
        yield "- the teacher gains nothing over the student alone: there is no share of it"
    wanted = {prompt: [0.9 * value for value in most[prompt]] for prompt in most}
    yield f"- the adapter over 90 % of the teacher's gain: {said(difference(gain, wanted), 2)} nats"
    yield f"- the adapter over the student with profile: {said(difference(nats[ARMS[3]], nats[ARMS[2]]), 2)} nats"
    yield (
        f"- the judge of authors learned from the {sum(map(len, texts.values()))} texts that the profiles were made "
        f"from, so that copies are taken for theirs; without the text that it is asked about it names "
        f"{right(texts):.0%} of their authors, by chance {1 / len(texts):.0%}"
    )


def no_answer(text: str) -> bool:
    """Whether a text is empty, of a word or two, or goes in circles."""
    return len(text.split()) < MIN_WORDS or is_repetitive(text)


def right(texts: Mapping[str, Sequence[str]]) -> float:
    """Share of the people's own texts whose author the judge names without having seen them."""
    found = [
        Authorship({**texts, user: [*theirs[:i], *theirs[i + 1 :]]}, words=WORDS).author(text) == user
        for user, theirs in texts.items()
        for i, text in enumerate(theirs)
    ]
    return _mean(found)


def _distance(person: Profile, prompt: str, answer: str) -> float:
    """Of what is no answer, the most there is: where nothing was measured nothing would be far."""
    del prompt
    if len(answer.split()) < MIN_WORDS:
        return MAX_DEVIATIONS
    return style_distance(answer, person.model_copy(update={"style": keep_opening_features(person.style)}))


def _over(ours: Mapping[str, list[float]], theirs: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {prompt: [a - b for a, b in zip(ours[prompt], theirs[prompt], strict=True)] for prompt in ours}


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
    prompts = json.loads((run / "split.json").read_text(encoding="utf-8"))["prompts"]["test"]
    cases = [(person, prompt) for person in people for prompt in prompts]
    adapter = open_adapter(asked.adapter)
    lm = connect(asked.teacher)
    if lm.model != adapter.card.teacher:
        raise InputError(
            f"{asked.teacher} is {lm.model}, and the adapter's teacher was {adapter.card.teacher}.",
            remedy="Give that one with --teacher.",
        )
    texts = own_texts([asked.people / f"{person.user}.jsonl" for person in people])
    asked.out.mkdir(parents=True, exist_ok=True)
    kept = Answers(asked.out / "answers.jsonl", f"{adapter.sha256[:12]} {lm.model} {asked.max_new_tokens}")
    model, tokenizer = load_student(open_base(adapter.card))
    all_of_them = Asked(cases, Generate(strategy(adapter.card.strategy), scorer=None), tokenizer, kept)
    ask_teacher(all_of_them, lm, asked.concurrency)
    ask_student(all_of_them, adapter, model.to(find_hardware().device), asked.max_new_tokens)
    print(f"{len(people)} people, {len(prompts)} prompts that nobody was trained on.\n")
    print("\n".join(table(kept, cases, texts)))


if __name__ == "__main__":
    main()
