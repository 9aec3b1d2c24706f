"""What verbs about one person have in common: the prompt, the person, a scorer, a population.

Everything heavy is loaded here, when a verb runs, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperalign.errors import InputError, MissingExtraError, UnknownModelError

if TYPE_CHECKING:
    import dspy

    from hyperalign.backends.models.lm import LM
    from hyperalign.backends.models.meter import Journal
    from hyperalign.budget import Budget
    from hyperalign.population import Population
    from hyperalign.profile import Profile
    from hyperalign.records import Record
    from hyperalign.scores import Scorer
    from hyperalign.store import Store

    from .options import ModelOptions
    from .terminal import Reporter

__all__ = [
    "asks_by_choice",
    "choose_population",
    "choose_scorer",
    "open_models",
    "read_person",
    "read_prompt",
    "use_programs",
]

_MIN_PEOPLE = 2
_MIN_RECORDS = 6
_OTHERS_READ = 200


def open_models(
    models: ModelOptions, scorer: str | None, budget: Budget, report: Reporter, journal: Journal | None = None
) -> tuple[LM, Scorer | None]:
    """The model to ask, and what tests hypotheses; None for a test by choice.

    What is missing of either is said before a file is fetched for the other.

    Raises:
        ModelError: the model, or the scorer that was named, can't be used.
        MissingExtraError: what runs one of them is not installed.
        StorageError: there is no space for a model's file.
    """
    from hyperalign.backends.models.connect import check_ready

    lm = models.connect(budget=budget, journal=journal, progress=report.bytes)
    check_ready(lm)
    return lm, choose_scorer(scorer, models.model, budget, report)


def choose_scorer(scorer: str | None, model: str, budget: Budget, report: Reporter) -> Scorer | None:
    """The scorer that was named, or the model's own; None where hypotheses must be tested by choice.

    Raises:
        ModelError: the scorer that was named can't be used.
    """
    from hyperalign.backends.models.connect import check_scorer
    from hyperalign.backends.models.scorers import open_scorer

    if scorer == "none":
        return None
    try:
        check_scorer(scorer or model)
        return open_scorer(scorer or model, budget=budget, progress=report.bytes)
    except (UnknownModelError, MissingExtraError):
        # A scorer nobody asked for by name may be missing: the model is asked instead.
        if scorer:
            raise
        return None


def choose_population(
    path: Path | None,
    user: str,
    store: Store,
    like: Sequence[Record] | None = None,
    *,
    redact: bool | None = None,
) -> Population:
    """Other people: the folder named, else other users of the store; where those are too few, the example people.

    Args:
        path: the folder; None for none.
        user: whom the others are held against.
        store: who else is known. Of each kind of record it is asked by itself whether there are enough.
        like: the person's records; None where it is not known yet of which kinds they will be.
        redact: whether the folder's people are read without what identifies them; None for wherever it can be had.

    Raises:
        InputError: the folder holds nobody.
        MissingExtraError: redaction is wanted, and not installed.
    """
    from functools import cache

    from hyperalign.population import FolderPopulation, ShippedPopulation, StorePopulation
    from hyperalign.privacy import find_redactor, redacted

    if path is not None:
        folder, taking_out = FolderPopulation(path), find_redactor(redact)
        if taking_out is None:
            return folder
        # Once for each person: it takes its time, and they are asked for again and again.
        return StorePopulation(cache(lambda user: tuple(redacted(folder.records(user), taking_out))), name=folder.name)
    shipped = ShippedPopulation()
    known, examples = store.other_records(user, _OTHERS_READ), shipped.records(user)
    others: list[Record] = []
    lacking: list[Record] = []
    for kind in dict.fromkeys(type(record) for record in (like if like is not None else [*known, *examples])):
        theirs = [record for record in known if type(record) is kind]
        if _enough(theirs):
            others += theirs
        else:
            lacking += [record for record in examples if type(record) is kind]
    if not others:
        return shipped
    name = "other users of the store"
    return StorePopulation(lambda _: [*others, *lacking], name=f"{name}, and {shipped.name}" if lacking else name)


def asks_by_choice(model: str, scorer: str | None) -> bool:
    """Whether tests will ask a model to choose, since nothing named gives log-probabilities of text."""
    return scorer == "none" or not (scorer or model).startswith(("local:", "vllm:"))


def _enough(others: Sequence[Record]) -> bool:
    return len({record.user for record in others}) >= _MIN_PEOPLE and len(others) >= _MIN_RECORDS


def read_prompt(given: str) -> str:
    """What to answer, from the argument or from standard input.

    Raises:
        InputError: it is empty, or no text.
    """
    import os
    import sys

    from hyperalign.errors import InputError

    # Arguments that are not UTF-8 come with their bytes hidden in surrogates.
    data = sys.stdin.buffer.read() if given == "-" else os.fsencode(given)
    try:
        prompt = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("The prompt is not UTF-8 text.", remedy="Convert it, for example with iconv.") from error
    if not prompt.strip():
        raise InputError("The prompt is empty.", remedy='Say what to answer: hyperalign generate "…" --user NAME')
    return prompt


def read_person(user: str | None, file: Path | None, store: str | None) -> Profile | None:
    """The profile of a file or of the store; None where nobody is named."""
    if file is not None:
        from .editing import read_profile

        return read_profile(file)
    if user is None:
        return None
    from hyperalign.records import check_user
    from hyperalign.store import Store

    with Store(store) as opened:
        return opened.load(check_user(user))


def use_programs(parts: Mapping[str, dspy.Module], folders: Sequence[Path] | None) -> None:
    """Give the steps of a program the prompts that were found for them.

    Args:
        parts: the steps, by name; they are changed.
        folders: of ``hyperalign optimize``; None for none.

    Raises:
        NotFoundError: there is no optimized step in a folder.
        InputError: it is damaged, or fits no step of this version.
    """
    if not folders:
        return
    from hyperalign.programs.optimize.artifact import apply, read_artifact

    for folder in folders:
        artifact = read_artifact(folder)
        if artifact.step not in parts:
            raise InputError(
                f"{folder} has prompts for {artifact.step or 'another program'}, which is no step here.",
                remedy=f"The steps here are: {', '.join(parts)}.",
            )
        apply(parts[artifact.step], artifact.prompts, where=str(folder))
