"""Which scope wins: adapters of several scopes beside each other, for whom they were trained on and for others.

Each adapter answers the prompts that no one of them was trained on, told of the person what its scope tells; beside
them the student alone, and with the words of a prefix but without an adapter. One of scope ``person`` or ``tag`` can't
be told of somebody else. Answers are kept as they end, and an interrupted run goes on. Intervals are over prompts. It
prints Markdown. Run it from the repository's folder, in the environment that trains, with:
python -m benches.scopes adapters/ada adapters/all --profiles people --people examples/people --out runs/scopes
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from hyperalign.backends.distill.adapters import Adapter, check_base, open_adapter, open_base
from hyperalign.backends.distill.collect import RewardMetric
from hyperalign.backends.distill.dataset import Scope, build_prefix
from hyperalign.backends.distill.probe import attach_adapter
from hyperalign.backends.distill.recipe import find_hardware
from hyperalign.backends.distill.student import Student, load_student
from hyperalign.errors import InputError
from hyperalign.evals.metrics.authorship import Authorship, cut
from hyperalign.evals.statistics import difference, estimate
from hyperalign.profile import Profile

from .distillation import (
    WORDS,
    Answers,
    Asked,
    Case,
    ask_student,
    hash_people,
    no_answer,
    own_samples,
    said,
    shared_prompts,
    tell,
    texts_of,
)

ALONE, TOLD = "student alone", "student with the prefix"


@dataclass(frozen=True)
class Condition:
    """Who answers, and for whom.

    Attributes:
        name: of it; an adapter's carries its weights.
        scope: what it is told of a person.
        trained: users whose answers it was trained on.
        adapter: its folder; None for the student itself.
    """

    name: str
    scope: Scope
    trained: Sequence[str] = ()
    adapter: Adapter | None = None

    def answers_for(self, user: str) -> bool:
        """Whether there is anything to tell it of a person."""
        if self.scope.kind == "prefix":
            return user in self.scope.prefixes
        return user in self.trained or self.scope.kind == "program"


def conditions_of(adapters: Sequence[Adapter], people: Sequence[Profile]) -> list[Condition]:
    """The student itself, and each adapter. Without hypotheses there is no prefix, and no condition that needs one."""
    described = {person.user: build_prefix(person) for person in people if person.hypotheses}
    found = [Condition(ALONE, Scope("program")), Condition(TOLD, Scope("prefix", described))]
    for adapter in adapters:
        card = adapter.card
        scope = Scope(card.scope, described | dict(card.prefixes))
        found.append(Condition(adapter.served_name, scope, card.users, adapter))
    return found


def ask(kept: Answers, condition: Condition, base: Student, cases: Sequence[Case], most: int) -> None:
    """Let one of them answer what it was not asked yet."""
    of_theirs = [case for case in cases if condition.answers_for(case[0].user)]
    if not kept.missing(condition.name, of_theirs):
        return
    model, tokenizer = load_student(base)
    model.to(find_hardware().device)
    if condition.adapter is not None:
        model = attach_adapter(model, condition.adapter.path)
    asked = Asked(of_theirs, tokenizer, kept, most)
    ask_student(asked, condition.name, model, tell(condition.scope))


def table(
    kept: Answers,
    conditions: Sequence[Condition],
    people: Sequence[Profile],
    prompts: Sequence[str],
    authors: Authorship,
) -> Iterator[str]:
    """A row for whom each was trained on, for the others, and for each person; then every two adapters, as Markdown."""
    names = (
        "",
        "scope",
        "for",
        "reward, nats",
        "over the student alone",
        "taken for theirs",
        "no answer",
        "prompt tokens",
    )
    yield f"| {' | '.join(names)} |"
    yield "|---|---|---|---|---|---|---|---|"
    for condition in conditions:
        for known in (True, False):
            some = [p for p in people if condition.answers_for(p.user) and (p.user in condition.trained) == known]
            together = [some] if some else []
            single = [[person] for person in some] if len(some) > 1 else []
            for group in together + single:
                yield _row(kept, condition, group, prompts, authors)
    yield ""
    for first, second in combinations((condition for condition in conditions if condition.adapter), 2):
        both = [person for person in people if first.answers_for(person.user) and second.answers_for(person.user)]
        for person in both:
            ours, theirs = (_nats(kept, condition, [person], prompts) for condition in (first, second))
            more = said(difference(ours, theirs), 2)
            yield f"- {_told(first, person)} over {_told(second, person)}, for {person.user}: {more} nats"


def _told(condition: Condition, person: Profile) -> str:
    return condition.name if person.user in condition.trained else f"{condition.name} (not trained on)"


def _nats(
    kept: Answers, condition: Condition, people: Sequence[Profile], prompts: Sequence[str]
) -> dict[str, list[float]]:
    """By prompt, the reward of the beginnings of the answers for the people."""
    reward = RewardMetric()
    return {
        prompt: [
            reward(person, prompt, cut(kept.known[condition.name, person.user, prompt]["answer"], WORDS), is_cut=True)
            for person in people
        ]
        for prompt in prompts
    }


def _row(
    kept: Answers, condition: Condition, people: Sequence[Profile], prompts: Sequence[str], authors: Authorship
) -> str:
    rows: dict[str, list[tuple[Profile, Mapping[str, Any]]]] = {
        prompt: [(person, kept.known[condition.name, person.user, prompt]) for person in people] for prompt in prompts
    }
    # What is no answer is nobody's.
    broken = sum(no_answer(row["answer"]) for of_one in rows.values() for _, row in of_one)
    taken = {
        prompt: [
            float(not no_answer(row["answer"]) and authors.author(cut(row["answer"], WORDS)) == person.user)
            for person, row in of_one
        ]
        for prompt, of_one in rows.items()
    }
    nats = _nats(kept, condition, people, prompts)
    share = estimate(taken, share=True)
    stranger = condition.adapter is not None and people[0].user not in condition.trained
    cells = [
        condition.name,
        condition.scope.kind if condition.adapter else "",
        ", ".join(person.user for person in people) + (" (not trained on)" if stranger else ""),
        said(estimate(nats), 2),
        said(difference(nats, _nats(kept, Condition(ALONE, Scope("program")), people, prompts)), 2)
        if condition.name != ALONE
        else "",
        f"{share.mean:.0%} ({share.low:.0%} to {share.high:.0%})",
        f"{broken} of {len(people) * len(prompts)}",
        f"{fmean(row['tokens'] for of_one in rows.values() for _, row in of_one):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Ask what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapters", type=Path, nargs="+", help="folders of adapters of one base, with their training")
    parser.add_argument("--profiles", type=Path, required=True, help="NAME.json of everybody who is asked for")
    parser.add_argument("--people", type=Path, required=True, help="the people's own texts: NAME.jsonl of each")
    parser.add_argument("--out", type=Path, required=True, help="where the answers are kept")
    parser.add_argument("--max-new-tokens", type=int, default=200, help="tokens of an answer")
    asked = parser.parse_args()
    people = [
        Profile.from_json(path.read_text(encoding="utf-8"), where=str(path))
        for path in sorted(asked.profiles.glob("*.json"))
    ]
    if not people:
        raise InputError(f"{asked.profiles} holds no profile.", remedy="Write them with 'hyperalign profile export'.")
    texts = texts_of(own_samples([asked.people / f"{person.user}.jsonl" for person in people]))
    adapters = [open_adapter(folder) for folder in asked.adapters]
    base = open_base(adapters[0].card)
    for adapter in adapters:
        check_base(adapter.card, base)
    prompts = shared_prompts(asked.adapters)
    asked.out.mkdir(parents=True, exist_ok=True)
    conditions = conditions_of(adapters, people)
    # The judge is trained first: where people have too few texts nobody is asked in vain.
    authors = Authorship(texts, words=WORDS)
    kept = Answers(asked.out / "answers.jsonl", hash_people(people, texts, base.sha256, str(asked.max_new_tokens)))
    for condition in conditions:
        ask(kept, condition, base, [(person, prompt) for person in people for prompt in prompts], asked.max_new_tokens)
    print(f"{len(people)} people, {len(prompts)} prompt(s) that nobody was trained on.\n")
    print("\n".join(table(kept, conditions, people, prompts, authors)))


if __name__ == "__main__":
    main()
