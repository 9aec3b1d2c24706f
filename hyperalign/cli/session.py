"""What commands about one user share: reading the prompt and the profile, connecting models, choosing a population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperalign.errors import (
    DownloadError,
    InputError,
    MissingExtraError,
    NotFoundError,
    ProfileError,
    UnknownModelError,
)

from .terminal import echo

if TYPE_CHECKING:
    import dspy

    from hyperalign.backends.models.lm import LM
    from hyperalign.backends.models.meter import Journal
    from hyperalign.budget import Budget, Usage
    from hyperalign.population import Population
    from hyperalign.profile import Profile
    from hyperalign.programs.reward import Encoder
    from hyperalign.records import Record
    from hyperalign.scores import Scorer
    from hyperalign.space import Space
    from hyperalign.store import Store

    from .options import ModelOptions
    from .terminal import Reporter

__all__ = [
    "asks_by_choice",
    "choose_encoder",
    "choose_population",
    "choose_scorer",
    "expect_fit",
    "keep_stated",
    "open_models",
    "read_about",
    "read_person",
    "read_profile",
    "read_prompt",
    "redact_records",
    "say_waiting",
    "use_programs",
]

_MIN_PEOPLE = 2
_MIN_RECORDS = 6
_OTHERS_READ = 200


def open_models(
    models: ModelOptions, scorer: str | None, budget: Budget, report: Reporter, journal: Journal | None = None
) -> tuple[LM, Scorer | None]:
    """Connect to the model and to the scorer that tests hypotheses.

    Both are checked before a file is downloaded for either.

    Returns:
        The model, and the scorer or None to test by choice.

    Raises:
        ModelError: the model, or the scorer that was named, cannot be used.
        MissingExtraError: a package that runs one of them is not installed.
        StorageError: there is no space for a model file.
    """
    from hyperalign.backends.models.connect import check_ready

    lm = models.connect(budget=budget, journal=journal, progress=report.bytes)
    check_ready(lm)
    return lm, choose_scorer(scorer, models.model, budget, report)


def choose_scorer(scorer: str | None, model: str, budget: Budget, report: Reporter) -> Scorer | None:
    """The scorer that was named, else the model's own, or None if there is neither.

    Raises:
        ModelError: the scorer that was named cannot be used.
    """
    from hyperalign.backends.models.connect import check_scorer
    from hyperalign.backends.models.scorers import open_scorer

    if scorer == "none":
        return None
    try:
        check_scorer(scorer or model)
        return open_scorer(scorer or model, budget=budget, progress=report.bytes, preparing=report)
    except (UnknownModelError, MissingExtraError):
        # The default scorer may be missing: the tests then ask the model.
        if scorer:
            raise
        return None


def choose_encoder(name: str | None, budget: Budget, report: Reporter) -> Encoder | None:
    """The encoder that a new reward reads texts with: the one that was named, else the embedded one.

    Returns:
        None where texts are read by measured features alone: for ``none``, and by default where the encoder can't be
        had, which is said on standard error.

    Raises:
        ModelError: the encoder that was named can't be used.
    """

    from hyperalign.backends.models.encoders import DEFAULT_ENCODER, NO_ENCODER, open_encoder

    if name == NO_ENCODER:
        return None
    try:
        return open_encoder(name or DEFAULT_ENCODER, budget=budget, progress=report.bytes)
    except (MissingExtraError, DownloadError) as error:
        if name is not None:
            raise
        echo(f"Texts are read by measured features alone: {error.message}", err=True)
        return None


def asks_by_choice(model: str, scorer: str | None) -> bool:
    """Whether the tests ask a model to choose, because nothing returns log-probabilities of given text."""
    return scorer == "none" or not (scorer or model).startswith(("local:", "vllm:"))


def expect_fit(
    records: Sequence[Record],
    others: Population,
    models: ModelOptions,
    scorer: str | None,
    space: Space | None,
    *,
    has_encoder: bool,
) -> tuple[dict[str, Usage], list[Record]]:
    """What the statements of one person are expected to take, without prices; and other people's records beside theirs.

    Args:
        records: the person's.
        others: the reference population.
        models: the model.
        scorer: as ``--scorer`` names it.
        space: the dimensions that are tried; the shipped ones if None.
        has_encoder: whether an encoder reads texts.
    """
    from hyperalign.population import choose_reference_records
    from hyperalign.programs.cost_estimate import estimate_cost
    from hyperalign.programs.fitting import REFERENCE_RECORDS
    from hyperalign.programs.hypothesis_tests.choice import SMALL_MODEL_STATEMENTS_PER_CALL, STATEMENTS_PER_CALL
    from hyperalign.records import split_by_kind

    against = [
        other
        for part in split_by_kind(records)
        for other in choose_reference_records(others, part[0].user, part, REFERENCE_RECORDS)
    ]
    small = models.model.startswith(("local:", "adapter:"))
    expected = estimate_cost(
        records,
        against,
        by_choice=asks_by_choice(models.model, scorer),
        space=space,
        statements_per_call=SMALL_MODEL_STATEMENTS_PER_CALL if small else STATEMENTS_PER_CALL,
        has_encoder=has_encoder,
    )
    return expected, against


def choose_population(
    path: Path | None,
    user: str,
    store: Store,
    like: Sequence[Record] | None = None,
    *,
    redact: bool | None = None,
) -> Population:
    """The reference population: the folder, else other users of the store, else the example people.

    Args:
        path: the folder, if one was named.
        user: the user to compare with the population.
        store: holds other users. For each kind of record there must be enough of them.
        like: the user's records. None if their kinds are not known yet.
        redact: whether to redact the folder's records. None redacts if the extra is installed.

    Raises:
        InputError: the folder holds no records.
        MissingExtraError: redaction is requested, and not installed.
    """
    from functools import cache

    from hyperalign.population import FolderPopulation, ShippedPopulation, StorePopulation
    from hyperalign.privacy import find_redactor, redact_texts

    if path is not None:
        folder, redactor = FolderPopulation(path), find_redactor(redact)
        if redactor is None:
            return folder
        # Cached: redaction is slow, and the records are read repeatedly.
        return StorePopulation(
            cache(lambda user: tuple(redact_texts(folder.records(user), redactor))), name=folder.name
        )
    shipped = ShippedPopulation()
    known, examples = store.other_records(user, _OTHERS_READ), shipped.records(user)
    others: list[Record] = []
    lacking: list[Record] = []
    for kind in dict.fromkeys(type(record) for record in (like if like is not None else [*known, *examples])):
        theirs = [record for record in known if type(record) is kind]
        if len({record.user for record in theirs}) >= _MIN_PEOPLE and len(theirs) >= _MIN_RECORDS:
            others += theirs
        else:
            lacking += [record for record in examples if type(record) is kind]
    if not others:
        return shipped
    name = "other users of the store"
    return StorePopulation(lambda _: [*others, *lacking], name=f"{name}, and {shipped.name}" if lacking else name)


def redact_records(records: Sequence[Record], redact: bool | None) -> list[Record]:
    """Records without names, addresses and numbers. None redacts if the extra is installed.

    Raises:
        MissingExtraError: redaction is requested, and not installed.
    """
    from hyperalign.privacy import find_redactor, redact_texts

    redactor = find_redactor(redact)
    return list(records) if redactor is None else redact_texts(records, redactor)


def keep_stated(store: Store, profile: Profile, stated: Sequence[str] = ()) -> Profile:
    """A newly fitted profile with the user's statements and edits from the latest stored version.

    Args:
        store: holds the versions.
        profile: the profile as it was fitted.
        stated: what the user says of themselves now.
    """
    from hyperalign.programs.reward import edits

    try:
        before = store.load(profile.user)
    except (NotFoundError, ProfileError):
        before = None
    return edits.keep_stated(before, profile, stated)


def say_waiting(user: str) -> None:
    """Say that another command is at work on a person, and that this one waits for it."""
    from .terminal import echo

    echo(f"Waiting for another command that is at work on {user!r}.", err=True)


def read_prompt(given: str) -> str:
    """The prompt, from the argument or, for ``-``, from standard input.

    Raises:
        InputError: the prompt is empty or not UTF-8.
    """
    import os
    import sys

    # Python keeps the bytes of an argument that is not UTF-8 as surrogates.
    data = sys.stdin.buffer.read() if given == "-" else os.fsencode(given)
    try:
        prompt = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("The prompt is not UTF-8 text.", remedy="Convert it, for example with iconv.") from error
    if not prompt.strip():
        raise InputError("The prompt is empty.", remedy='Give a prompt: hyperalign generate "…" --user NAME')
    return prompt


def read_about(about: str | None, about_file: Path | None) -> list[str]:
    """The paragraphs of what a user says of themselves, each on one line.

    Raises:
        InputError: it is empty, or longer than what a model is shown.
    """
    import re

    from hyperalign.ingest import read_text
    from hyperalign.programs.strategies import PROFILE_WORDS

    given = [about] if about is not None else []
    if about_file is not None:
        given.append(read_text(about_file))
    paragraphs = [" ".join(part.split()) for text in given for part in re.split(r"\n\s*\n", text)]
    stated = [paragraph for paragraph in paragraphs if paragraph]
    if given and not stated:
        raise InputError("The description is empty.", remedy='Say something: --about "I read on my way to work."')
    words = sum(len(paragraph.split()) for paragraph in stated)
    if words > PROFILE_WORDS:
        raise InputError(
            f"The description has {words:,} words; a model is shown {PROFILE_WORDS} at most.",
            remedy="Shorten it, or give what the person wrote among the files.",
        )
    return stated


def read_person(user: str | None, file: Path | None, store: str | None) -> Profile | None:
    """The profile in a file or in the store. None if neither is named.

    Raises:
        InputError: both are named.
    """
    if user is not None and file is not None:
        raise InputError("Both --user and --profile name a profile.", remedy="Give one of them.")
    if file is not None:
        return read_profile(file)
    if user is None:
        return None
    from hyperalign.records import check_user
    from hyperalign.store import Store

    with Store(store) as opened:
        return opened.load(check_user(user))


def read_profile(path: Path, *, user: str | None = None) -> Profile:
    """Read a profile from a file.

    Args:
        path: the file.
        user: the user it must be of. None accepts any user.

    Raises:
        ProfileError: the file is missing or invalid, or it is another user's profile.
    """
    from hyperalign.profile import Profile

    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ProfileError(f"{path} could not be read: {why}.", remedy="Check the name of the file.") from error
    profile = Profile.from_json(data, where=str(path))
    if user is not None and profile.user != user:
        raise ProfileError(
            f"{path}: this is a profile of {profile.user!r}, not of {user!r}.", remedy="Put the 'user' field back."
        )
    return profile


def use_programs(parts: Mapping[str, dspy.Module], folders: Sequence[Path] | None) -> None:
    """Load optimized prompts into the steps of a program.

    Args:
        parts: the steps by name. They are changed in place.
        folders: folders written by ``hyperalign optimize``.

    Raises:
        NotFoundError: a folder holds no optimized step.
        InputError: a folder is damaged, or its step does not fit this version.
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
