"""``hyperalign ask``: ask a user which of two answers they would choose, the question that teaches most first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    DEFAULT_OPTIONS,
    EncoderOption,
    JsonOption,
    ModelOptions,
    RedactOption,
    StoreOption,
    model_options,
)
from .terminal import echo

if TYPE_CHECKING:
    from hyperalign.budget import Budget
    from hyperalign.profile import Profile
    from hyperalign.programs.reward import Reward
    from hyperalign.programs.reward.asking import Question, QuestionPool
    from hyperalign.store import Store

    from .terminal import Reporter

__all__ = ["ask", "read_answers"]

_FIRST, _SECOND, _SKIP, _STOP = "a", "b", "s", "q"
_ASK = "A, B, s (cannot say) or q (stop)"


@model_options()
def ask(
    user: Annotated[str, typer.Option("--user", help="The user's id.")],
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="Prompts to ask about: a text file with one per line, or JSONL.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers",
            help='Candidate answers: JSONL with "prompt" and "answers". A file that does not exist is written with the '
            "answers that the model draws.",
        ),
    ] = None,
    each: Annotated[int, typer.Option("--each", min=2, max=5, help="Answers to draw for each prompt.")] = 3,
    most: Annotated[int, typer.Option("--most", min=1, help="Ask at most this many questions.")] = 20,
    enough: Annotated[
        float, typer.Option("--enough", min=0, max=0.69, help="Stop where no question teaches this many nats.")
    ] = 0.03,
    models: ModelOptions = DEFAULT_OPTIONS,
    encoder: EncoderOption = None,
    store: StoreOption = None,
    redact: RedactOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a user which of two answers they would choose, the question that teaches most first, and learn from it.

    Each answer is kept as a record, and the reward learns from it at once. It stops when no question teaches much.

    Example: hyperalign ask --user mira --prompts prompts.txt --answers answers.jsonl
    """
    from hyperalign.errors import InputError
    from hyperalign.programs.reward.asking import QuestionPool
    from hyperalign.records import check_user
    from hyperalign.store import Store

    from .terminal import print_json, reporter

    user = check_user(user)
    budget = models.new_budget()
    with Store(store) as opened:
        with reporter(quiet=as_json) as report, budget.step("ask"):
            candidates = _find_answers(prompts, answers, each, models, budget, report)
            profile, reward = _open_person(opened, user, encoder, budget, report)
            pool = QuestionPool.read(reward, candidates).answer(_answered(opened, user))
        if not pool.questions:
            raise InputError(
                "No prompt has two different answers that were not asked about yet.",
                remedy="Give more prompts, or other answers.",
            )
        asked = _Session(opened, reward, pool, user=user, enough=enough, redact=redact)
        try:
            asked.run(most)
        finally:
            if asked.answered:
                learned = profile.model_copy(update={"reward": asked.reward.to_profile()}).touched()
                opened.save(learned, note=f"{len(asked.answered)} answered question(s)")
    if as_json:
        print_json(asked.told())
    else:
        echo(asked.summary())


class _Session:
    """The questions of one run, and what was learned from them."""

    def __init__(
        self, store: Store, reward: Reward, pool: QuestionPool, *, user: str, enough: float, redact: bool | None
    ) -> None:
        self.reward = reward
        self.answered: list[str] = []
        self._store = store
        self._user = user
        self._pool = pool
        self._enough = enough
        self._redact = redact

    def run(self, most: int) -> None:
        """Ask until nothing teaches much, ``most`` were asked, or the user stops."""
        from hyperalign.text import plain

        for number in range(1, most + 1):
            if not self._pool.questions:
                return
            best, information = self._pool.choose(self.reward.posterior)
            if information < self._enough:
                return
            question = self._pool.questions[best]
            self._pool = self._pool.without([question])
            left = self.left()
            more = f"about {left} more would do" if left is not None else "more than these questions would be needed"
            # Questions go to standard error: standard output is for what a program reads.
            echo(f"\n{number}. {plain(question.prompt)}   ({information:.2f} nats; {more})", err=True)
            shown = self._show(question, number)
            if (choice := _read_choice()) == _STOP:
                return
            if choice != _SKIP:
                self._learn(question, shown[choice])
                self._pool = self._pool.answer([question])

    def left(self) -> int | None:
        """About how many more questions would be needed."""
        from hyperalign.programs.reward.asking import count_questions_left

        pool = self._pool
        return count_questions_left(
            self.reward.posterior, pool.differences, pool.others, shares=pool.shares, enough=self._enough
        )

    def told(self) -> dict[str, object]:
        """What came of it, as JSON-able data."""
        held_out = self.reward.hold_out()
        return {
            "user": self._user,
            "answered": len(self.answered),
            "records": self.answered,
            "left": self.left(),
            "predicts": str(held_out) if held_out else "",
        }

    def summary(self) -> str:
        """What came of it, in words."""
        left, held_out = self.left(), self.reward.hold_out()
        more = {None: "These questions are too few to be sure.", 0: "No further question would teach much."}.get(
            left, f"About {left} more questions would teach something."
        )
        predicts = f" The reward {held_out}." if held_out else ""
        return f"{len(self.answered)} answer(s) kept.{predicts} {more}"

    def _show(self, question: Question, number: int) -> dict[str, tuple[str, str]]:
        """Show both answers, in turns in either order, and return what each letter chooses and rejects."""
        from hyperalign.text import plain

        one, other = question.first, question.second
        if number % 2:
            one, other = other, one
        echo(f"  A  {plain(one)}\n  B  {plain(other)}", err=True)
        return {_FIRST: (one, other), _SECOND: (other, one)}

    def _learn(self, question: Question, taken: tuple[str, str]) -> None:
        from hyperalign.records import Pair

        from .session import redact_records

        given = Pair(user=self._user, prompt=question.prompt, chosen=taken[0], rejected=taken[1])
        kept = redact_records([given], self._redact)
        self._store.add_records(kept)
        self.reward = self.reward.update(kept)
        self.answered += [record.id for record in kept]


def _read_choice() -> str:
    """A letter; the end of standard input stops."""
    import sys

    while True:
        echo(f"{_ASK}: ", nl=False, err=True)
        line = sys.stdin.readline()
        said = line.strip().lower()
        if not line:
            return _STOP
        if said in (_FIRST, _SECOND, _SKIP, _STOP):
            return said


def _answered(store: Store, user: str) -> list[Question]:
    """The questions that the user's choices answer already."""
    from hyperalign.programs.reward.asking import Question
    from hyperalign.records import Pair, prompt_of

    pairs = [record for record in store.records(user) if isinstance(record, Pair)]
    return [Question(prompt_of(pair), pair.chosen, pair.rejected) for pair in pairs]


def _open_person(
    store: Store, user: str, encoder: str | None, budget: Budget, report: Reporter
) -> tuple[Profile, Reward]:
    """The profile in the store, or an empty one, and the reward that is learned from all records so far."""
    from hyperalign.backends.models.encoders import open_population, reopen_encoder
    from hyperalign.errors import NotFoundError
    from hyperalign.profile import Profile
    from hyperalign.programs.reward import Reward

    from .session import choose_encoder

    try:
        profile = store.load(user)
    except NotFoundError:
        profile = Profile(user=user)
    records = store.records(user)
    if profile.reward is None:
        reads = choose_encoder(encoder, budget, report)
        return profile, Reward.fit(records, population=open_population(reads), encoder=reads)
    embeds = reopen_encoder(profile.reward, encoder=encoder, budget=budget, progress=report.bytes)
    return profile, Reward.from_profile(profile.reward, encoder=embeds).update(records)


def _find_answers(
    prompts: Path | None, answers: Path | None, each: int, models: ModelOptions, budget: Budget, report: Reporter
) -> dict[str, list[str]]:
    """By prompt, candidate answers: those of the file, else the model's."""
    from hyperalign.errors import InputError

    if answers is not None and answers.exists():
        return read_answers(answers)
    if prompts is None:
        raise InputError("There is nothing to ask about.", remedy="Give --prompts, or --answers with a file.")
    from hyperalign.backends.models.connect import check_ready
    from hyperalign.files import write_whole
    from hyperalign.programs.generate import MANNERS, DrawAnswers

    from .distill import read_prompts

    lm = models.connect(budget=budget, progress=report.bytes)
    asked = read_prompts(prompts)
    check_ready(lm)
    found: dict[str, list[str]] = DrawAnswers(lm, manners=MANNERS[:each])(prompts=asked, progress=report).answers
    if answers is not None:
        write_whole(answers, _as_lines(found))
    return found


def _as_lines(answers: Mapping[str, Sequence[str]]) -> str:
    import json

    rows = ({"prompt": prompt, "answers": list(texts)} for prompt, texts in answers.items())
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def read_answers(path: Path) -> dict[str, list[str]]:
    """By prompt, the candidate answers of a JSONL file.

    Args:
        path: rows with ``prompt`` and ``answers``, a list of texts.

    Raises:
        RecordError: a row is something else; the error names its line.
    """
    import json

    from hyperalign.errors import RecordError
    from hyperalign.ingest import read_text

    found: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        texts = row.get("answers") if isinstance(row, dict) else None
        prompt = row.get("prompt") if isinstance(row, dict) else None
        if not (isinstance(prompt, str) and isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
            raise RecordError(
                "this is no prompt with its answers.",
                path=str(path),
                line=number,
                remedy='Write {"prompt": "…", "answers": ["…", "…"]} on each line.',
            )
        found.setdefault(prompt, []).extend(text for text in texts if text.strip())
    return found
