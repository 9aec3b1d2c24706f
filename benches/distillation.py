"""What adapters are worth beside their teachers: on the prompts that were kept from training, for each of their people.

The same prompts are answered by the student alone, the student with the profile, each adapter's teacher, told or guided
as it was in training, and the student with each adapter and no profile. Answers are kept as they end, and an
interrupted run goes on. Each is cut to the same number of words before it is scored, and scored by what the beginning
of a text shows, so that no limit of tokens decides. A told teacher is asked as ``generate --effort low`` asks, a guided
one as ``generate`` asks with the people's texts; the student writes greedily. Prompt tokens are the student's, also of
the teacher's prompt; seconds are those of an answer, several at a time of the student and of a told teacher.
Intervals are over prompts. It prints Markdown. Run it from the repository's folder, in the environment that trains:
python -m benches.distillation adapters/guided adapters/told --people examples/people --out runs
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import dspy

from hyperalign.backends.distill.adapters import Adapter, Card, check_base, open_adapter, open_base
from hyperalign.backends.distill.collect import GuidedTeacher, RewardMetric, Teacher
from hyperalign.backends.distill.dataset import Scope
from hyperalign.backends.distill.probe import attach_adapter, generate_answers, mean_prompt_tokens
from hyperalign.backends.distill.recipe import find_hardware
from hyperalign.backends.distill.student import load_student
from hyperalign.backends.distill.traces import MIN_WORDS, hash_parts, hash_profile, is_repetitive
from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.writers import open_writer
from hyperalign.cli.options import DEFAULT_MODEL
from hyperalign.concurrency import run_concurrently
from hyperalign.errors import InputError, ModelOutputError
from hyperalign.evals.metrics.authorship import Authorship, cut, style_distance
from hyperalign.evals.statistics import Estimate, difference, estimate, ratio
from hyperalign.files import append_line, read_journal
from hyperalign.ingest import read_records
from hyperalign.profile import Profile
from hyperalign.programs.generate import Generate
from hyperalign.programs.guided import GuidedGenerate
from hyperalign.programs.strategies import strategy
from hyperalign.records import Record, Sample, own_text
from hyperalign.scores import Message
from hyperalign.style import keep_opening_features
from hyperalign.style.claims import MAX_DEVIATIONS
from hyperalign.text import longest_copied_run

STUDENT, TOLD_STUDENT = "student", "student with profile"
WORDS = 100
LEAST_TEXTS = 2  # fewer authors, or texts of one, teach no judge of authors
AT_ONCE = 16
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
            "seconds": round(seconds, 2),
        }
        append_line(self._path, json.dumps(row))
        self.known[condition, person.user, prompt] = row


@dataclass(frozen=True)
class Asked:
    """What everybody is asked.

    Attributes:
        cases: people and prompts.
        tokenizer: the student's.
        kept: the answers.
        max_new_tokens: the most tokens of a student's answer.
    """

    cases: Sequence[Case]
    tokenizer: Any
    kept: Answers
    max_new_tokens: int


def name_teacher(card: Card) -> str:
    """A teacher's name in the table."""
    way = f"told by {card.strategy}" if card.effort == "low" else f"guided at {card.effort} by {card.strategy}"
    return f"teacher, {way}"


def name_adapter(adapter: Adapter) -> str:
    """An adapter's name in the table, with a hash of its weights."""
    return f"student with {adapter.served_name}"


def open_teacher(card: Card, name: str, texts: Mapping[str, Sequence[Record]]) -> Teacher:
    """The teacher that a card names, told or guided as it was in training.

    Args:
        card: of the adapter that it taught.
        name: of the model, as in ``--teacher``.
        texts: the people's own records.

    Raises:
        InputError: the card names another model.
    """
    writer = open_writer(name) if card.effort != "low" else None
    lm = connect(name) if writer is None else None
    guide = None
    if card.effort != "low":
        program = GuidedGenerate(card.effort, strategy=card.strategy, writer=writer)
        guide = GuidedTeacher(program, card.effort, writer.name if writer is not None else "", texts)
    teacher = Teacher(lm, strategy(card.strategy), guide=guide)
    if teacher.name != card.teacher:
        raise InputError(
            f"{name} is {teacher.name}, and the teacher of {card.name} was {card.teacher}.",
            remedy="Give that one with --teacher.",
        )
    return teacher


def ask_teacher(asked: Asked, condition: str, teacher: Teacher, concurrency: int) -> None:
    """The teacher for each person; an answer that is none stays one."""
    program = Generate(teacher.strategy, scorer=None)

    def ask(case: Case) -> tuple[Case, str, float]:
        person, prompt = case
        began = time.perf_counter()
        with dspy.context(lm=teacher.lm):
            try:
                if teacher.guide is not None:
                    answer, *_ = teacher.guide.write(person, prompt)
                else:
                    answer = str(program(prompt=prompt, profile=person).answer)
            except ModelOutputError:
                answer = ""
        return case, answer, time.perf_counter() - began

    def keep(found: tuple[Case, str, float]) -> None:
        (person, prompt), answer, seconds = found
        tokens = mean_prompt_tokens(asked.tokenizer, [program.messages(person, prompt)])
        asked.kept.add(condition, (person, prompt), answer, tokens, seconds)

    at_once = 1 if teacher.guide is not None and teacher.guide.name else concurrency
    run_concurrently(ask, asked.kept.missing(condition, asked.cases), at_once, keep=keep)


def tell(scope: Scope) -> Callable[[Profile, str], list[Message]]:
    """What a scope tells of a person, before a prompt."""
    return lambda person, prompt: scope.messages(person.user, prompt)


def ask_student(
    asked: Asked, condition: str, model: Any, turns_of: Callable[[Profile, str], Sequence[Message]]
) -> None:
    """The student, or the student with an adapter, told what ``turns_of`` says.

    It writes greedily: what is asked in the same words, as of the student alone for everybody, is answered once.
    """
    waiting: dict[str, list[Case]] = {}
    for case in asked.kept.missing(condition, asked.cases):
        waiting.setdefault(json.dumps(turns_of(*case)), []).append(case)
    questions = list(waiting)
    for start in range(0, len(questions), AT_ONCE):
        some = questions[start : start + AT_ONCE]
        turns = [json.loads(words) for words in some]
        began = time.perf_counter()
        found = generate_answers(model, asked.tokenizer, turns, max_new_tokens=asked.max_new_tokens)
        seconds = (time.perf_counter() - began) / len(some)
        for words, of_one, answer in zip(some, turns, found, strict=True):
            for case in waiting[words]:
                asked.kept.add(condition, case, answer, mean_prompt_tokens(asked.tokenizer, [of_one]), seconds)


def scores(
    kept: Answers, conditions: Sequence[str], cases: Sequence[Case], score: Callable[[Profile, str, str], float]
) -> dict[str, dict[str, list[float]]]:
    """By condition and prompt: a score of each answer, over its first words."""
    found: dict[str, dict[str, list[float]]] = {condition: {} for condition in conditions}
    for condition in conditions:
        for person, prompt in cases:
            answer = cut(kept.known[condition, person.user, prompt]["answer"], WORDS)
            found[condition].setdefault(prompt, []).append(score(person, prompt, answer))
    return found


def table(
    kept: Answers, adapters: Sequence[Adapter], cases: Sequence[Case], texts: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """The table and what follows from it, as Markdown."""
    authors = Authorship(texts, words=WORDS)
    reward = RewardMetric()
    names = dict.fromkeys(name_teacher(adapter.card) for adapter in adapters)
    teachers = [name for name in names if not kept.missing(name, cases)]
    conditions = [*teachers, STUDENT, TOLD_STUDENT, *map(name_adapter, adapters)]
    nats = scores(kept, conditions, cases, lambda person, prompt, text: reward(person, prompt, text, is_cut=True))
    far = scores(kept, conditions, cases, _distance)

    def is_theirs(person: Profile, _: str, text: str) -> float:
        # What is no answer is nobody's.
        return float(not no_answer(text) and authors.author(text) == person.user)

    taken = scores(kept, conditions, cases, is_theirs)
    broken = scores(kept, conditions, cases, lambda _, __, text: float(no_answer(text)))
    named = "reward, nats | style distance | taken for theirs | no answer | longest copied run | words | prompt tokens"
    yield f"| | {named} | seconds |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for condition in conditions:
        rows = [kept.known[condition, person.user, prompt] for person, prompt in cases]
        copied = [longest_copied_run(row["answer"], texts[row["user"]]) for row in rows]
        share = estimate(taken[condition], share=True)
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
    for adapter in adapters:
        yield from _shares(adapter, nats)
    first, *others = map(name_adapter, adapters)
    for other in others:
        yield (
            f"- {first} over {other}: {said(difference(nats[first], nats[other]), 2)} nats, "
            f"{said(difference(far[first], far[other]), 2)} of style distance; the share without an answer "
            f"{said(difference(broken[first], broken[other]), 2)}"
        )
    yield (
        f"- the judge of authors learned from the {sum(map(len, texts.values()))} texts that the profiles were made "
        f"from, so that copies are taken for theirs; without the text that it is asked about it names "
        f"{right(texts):.0%} of their authors, by chance {1 / len(texts):.0%}"
    )


def _shares(adapter: Adapter, nats: Mapping[str, Mapping[str, list[float]]]) -> Iterator[str]:
    """How an adapter stands beside its teacher and the student."""
    name, teacher = name_adapter(adapter), name_teacher(adapter.card)
    gain = _over(nats[name], nats[STUDENT])
    yield f"- {name} over the student alone: {said(estimate(gain), 2)} nats"
    yield f"- it over the student with profile: {said(difference(nats[name], nats[TOLD_STUDENT]), 2)} nats"
    if teacher not in nats:
        return
    most = _over(nats[teacher], nats[STUDENT])
    yield f"- its {teacher}, over the student alone: {said(estimate(most), 2)} nats"
    if estimate(most).mean > 0:
        part = ratio(gain, most)
        yield f"- its gain as a share of the teacher's: {part.mean:.0%} ({part.low:.0%} to {part.high:.0%})"
    else:
        yield "- its teacher gains nothing over the student alone: there is no share of it"
    wanted = {prompt: [0.9 * value for value in most[prompt]] for prompt in most}
    yield f"- its gain over 90 % of the teacher's: {said(difference(gain, wanted), 2)} nats"


def no_answer(text: str) -> bool:
    """Whether a text is empty, of a word or two, or goes in circles."""
    return len(text.split()) < MIN_WORDS or is_repetitive(text)


def right(texts: Mapping[str, Sequence[str]]) -> float:
    """Share of the people's own texts whose author the judge names without having seen them."""
    found = [
        Authorship({**texts, user: [*theirs[:i], *theirs[i + 1 :]]}, words=WORDS).author(text) == user
        for user, theirs in texts.items()
        for i, text in enumerate(theirs)
        if max(len(theirs), len(texts)) > LEAST_TEXTS
    ]
    return _mean(found or [math.nan])


def _distance(person: Profile, prompt: str, answer: str) -> float:
    """Of what is no answer, the most there is: where nothing was measured nothing would be far."""
    del prompt
    if len(answer.split()) < MIN_WORDS:
        return MAX_DEVIATIONS
    return style_distance(answer, person.model_copy(update={"style": keep_opening_features(person.style)}))


def _over(ours: Mapping[str, list[float]], theirs: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {prompt: [a - b for a, b in zip(ours[prompt], theirs[prompt], strict=True)] for prompt in ours}


def own_samples(files: Sequence[Path]) -> dict[str, list[Record]]:
    """By person, what they wrote: ``NAME.jsonl`` of each."""
    return {
        path.stem: [record for record in read_records([path], user=path.stem).records if isinstance(record, Sample)]
        for path in files
    }


def texts_of(records: Mapping[str, Sequence[Record]]) -> dict[str, list[str]]:
    """By person, the words alone."""
    return {user: [own_text(record) for record in theirs] for user, theirs in records.items()}


def hash_people(people: Sequence[Profile], texts: Mapping[str, Sequence[str]], *settings: str) -> str:
    """Hash whom answers are for, as far as a model is told of them or scored by them, and other settings."""
    rewards = [person.reward.model_dump_json() if person.reward is not None else "" for person in people]
    return hash_parts(*settings, *map(hash_profile, people), *rewards, json.dumps(texts, sort_keys=True))


def shared_prompts(folders: Sequence[Path]) -> list[str]:
    """Prompts that were kept from the training of every adapter.

    Raises:
        InputError: there is none.
    """
    of_each = [
        json.loads((folder / "training" / "split.json").read_text(encoding="utf-8"))["prompts"]["test"]
        for folder in folders
    ]
    shared = [prompt for prompt in of_each[0] if all(prompt in other for other in of_each[1:])]
    if not shared:
        raise InputError("No prompt was kept from all these adapters.", remedy="Distill them from the same prompts.")
    return shared


def said(found: Estimate, digits: int) -> str:
    """A mean with its interval."""
    return f"{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _mean(values: Iterable[Any]) -> float:
    return fmean(float(value) for value in values)


def main() -> None:
    """Ask what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapters", type=Path, nargs="+", help="folders of adapters, with the files of their training")
    parser.add_argument("--people", type=Path, required=True, help="the people's own texts: NAME.jsonl of each")
    parser.add_argument("--teacher", default=DEFAULT_MODEL, help="the model of all teachers")
    parser.add_argument("--no-teachers", action="store_true", help="leave the teachers out, which take longest")
    parser.add_argument("--out", type=Path, required=True, help="where the answers are kept")
    parser.add_argument("--max-new-tokens", type=int, default=200, help="tokens of a student's answer")
    parser.add_argument("--concurrency", type=int, default=1, help="prompts that a told teacher is asked at a time")
    asked = parser.parse_args()
    people = [
        Profile.from_json(json.dumps(person), where="people.json")
        for person in json.loads((asked.adapters[0] / "training" / "people.json").read_text(encoding="utf-8"))
    ]
    adapters = [open_adapter(folder) for folder in asked.adapters]
    base = open_base(adapters[0].card)
    for adapter in adapters:
        check_base(adapter.card, base)
    prompts = shared_prompts(asked.adapters)
    cases = [(person, prompt) for person in people for prompt in prompts]
    records = own_samples([asked.people / f"{person.user}.jsonl" for person in people])
    asked.out.mkdir(parents=True, exist_ok=True)
    texts = texts_of(records)
    # The judge is trained first: where people have too few texts nobody is asked in vain.
    Authorship(texts, words=WORDS)
    about = hash_people(people, texts, base.sha256, asked.teacher, str(asked.max_new_tokens))
    kept = Answers(asked.out / "answers.jsonl", about)
    model, tokenizer = load_student(base)
    program = Generate(strategy(adapters[0].card.strategy), scorer=None)
    all_of_them = Asked(cases, tokenizer, kept, asked.max_new_tokens)
    for adapter in [] if asked.no_teachers else adapters:
        teacher = open_teacher(adapter.card, asked.teacher, records)
        ask_teacher(all_of_them, name_teacher(adapter.card), teacher, asked.concurrency)
    model = model.to(find_hardware().device)
    ask_student(all_of_them, STUDENT, model, tell(Scope("program")))
    ask_student(all_of_them, TOLD_STUDENT, model, program.messages)
    for adapter in adapters:
        scope = Scope(adapter.card.scope, adapter.card.prefixes)
        # Attaching changes the model that it is attached to.
        fresh, _ = load_student(base)
        taught = attach_adapter(fresh.to(find_hardware().device), adapter.path)
        ask_student(all_of_them, name_adapter(adapter), taught, tell(scope))
    print(f"{len(people)} people, {len(prompts)} prompts that nobody was trained on.\n")
    print("\n".join(table(kept, adapters, cases, texts)))


if __name__ == "__main__":
    main()
