"""Options that several verbs share, each in one wording.

Only typer is loaded here: help must be fast.

Which model is asked and how: one bundle of options for every verb that talks to a model.

``@model_options()`` adds the options to a command and hands its function one ``ModelOptions``. Only typer is loaded
here.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from hyperalign.backends.models.lm import LM
    from hyperalign.backends.models.meter import Journal
    from hyperalign.budget import Budget
    from hyperalign.concurrency import Progress

__all__ = [
    "DEFAULT_MODEL",
    "DEFAULT_OPTIONS",
    "DryRun",
    "FilesArgument",
    "JsonOption",
    "MaxCalls",
    "MaxTokens",
    "MaxUsd",
    "ModelOptions",
    "OutOption",
    "PopulationOption",
    "ProgramOption",
    "RedactOption",
    "ScorerOption",
    "SeedOption",
    "SkipBad",
    "SpaceOption",
    "StoreOption",
    "WhoseOption",
    "model_options",
]

DEFAULT_MODEL = "local:qwen2.5-coder-1.5b-instruct"

FilesArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILES]...", help="Text, Markdown or JSONL files, folders, or - for standard input."),
]
WhoseOption = Annotated[str | None, typer.Option("--user", help="Whose they are.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Pass over bad lines and files, and count them.")]
RedactOption = Annotated[
    bool | None,
    typer.Option(
        "--redact/--no-redact",
        envvar="HYPERALIGN_REDACT",
        help="Take names, mail addresses and numbers out of what is read; done where the extra 'privacy' is installed "
        "if left out.",
    ),
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Also write the profile to this file.")]
ScorerOption = Annotated[
    str | None,
    typer.Option(
        "--scorer",
        envvar="HYPERALIGN_SCORER",
        help="Model whose log-probabilities test hypotheses (local:NAME or vllm:ADDRESS); "
        "the --model's own if left out; 'none' tests by choice.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="HYPERALIGN_STORE",
        metavar="PLACE",
        help="A SQLite file or a postgresql:// URL instead of the store in the data folder.",
    ),
]
PopulationOption = Annotated[
    Path | None,
    typer.Option(
        "--population",
        help="Other people to compare with: a folder with a sub-folder or JSONL file for each. If left out: "
        "other users of the store where there are two or more, else the example people.",
    ),
]
ProgramOption = Annotated[
    list[Path] | None,
    typer.Option("--program", help="The folder of a step that 'optimize' made better; may be repeated."),
]
SpaceOption = Annotated[
    Path | None,
    typer.Option("--space", help="Dimensions of your own to try: a JSON file, in place of the space that ships."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything that is drawn.")]
MaxCalls = Annotated[int | None, typer.Option("--max-calls", min=0, help="Stop before another model call.")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", min=0, help="Stop once so many tokens are used.")]
MaxUsd = Annotated[float | None, typer.Option("--max-usd", min=0, help="Stop once so much money is spent.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and do nothing.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


_Command = Callable[..., None]

_MODEL_HELP = "local:NAME, vllm:ADDRESS, or any LiteLLM name such as anthropic/NAME."
_OWN_ADDRESS = ("local:", "vllm:", "adapter:")
_PLACE = ("api_base", "api_version")
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True)
class ModelOptions:
    """A model, and how it is called; what is None is left to the model's own defaults.

    Attributes:
        model: its name.
        api_base: the address of a hosted model's server.
        api_version: the version of its interface.
        headers: sent with each request; secrets, which are neither shown nor written anywhere.
        temperature: of sampling.
        reasoning_effort: how much a thinking model thinks.
        concurrency: calls at once.
        timeout: seconds to wait for an answer.

    Raises:
        InputError: a value is not one that it can have.
    """

    model: str = DEFAULT_MODEL
    api_base: str | None = None
    api_version: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    temperature: float | None = None
    reasoning_effort: str | None = None
    concurrency: int | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        # A name that can't be is said by who knows models.
        given = {name: value for name, value in vars(self).items() if name not in ("model", "headers")}
        if any(value is not None for value in given.values()):
            from hyperalign.settings import checked

            checked(given)

    @property
    def is_own(self) -> bool:
        """Whether it runs on a server of one's own, so that it costs no money."""
        return self.model.startswith(_OWN_ADDRESS)

    def connect(
        self, *, budget: Budget | None = None, journal: Journal | None = None, progress: Progress | None = None
    ) -> LM:
        """The model to call; nothing is fetched or asked before its first call.

        Raises:
            ModelError: the name is of no model, or a server does not answer.
        """
        from hyperalign.backends.models.connect import connect

        given: dict[str, Any] = self.identity()
        name = given.pop("model")
        given |= {"concurrency": self.concurrency, "timeout": self.timeout, "extra_headers": dict(self.headers) or None}
        if not self.is_own:
            given["api_version"] = self.api_version
        given = {key: value for key, value in given.items() if value is not None}
        return connect(name, budget=budget, journal=journal, progress=progress, **given)

    def other(self, model: str) -> ModelOptions:
        """Another model, called as patiently; its address, headers and settings are not this one's."""
        return ModelOptions(model, concurrency=self.concurrency, timeout=self.timeout)

    def identity(self) -> dict[str, Any]:
        """What decides its answers, as JSON-able data without secrets: a run with another value is another run."""
        given = {"temperature": self.temperature, "reasoning_effort": self.reasoning_effort}
        from hyperalign.backends.models.transport import environment_base

        place = {} if self.is_own else {"api_base": self.api_base or environment_base(self.model.partition("/")[0])}
        return {"model": self.model, **{key: value for key, value in {**place, **given}.items() if value is not None}}


DEFAULT_OPTIONS = ModelOptions()
"""The embedded model, as it is."""


def model_options(*, flag: str = "--model", about: str = _MODEL_HELP) -> Callable[[_Command], _Command]:
    """Add the options to a command, in the place of its parameter ``models``, which is a ``ModelOptions``.

    Args:
        flag: the option that names the model.
        about: what it says of itself.

    Returns:
        A decorator that makes the command as typer is to see it.
    """

    def decorated(command: _Command) -> _Command:
        hints = get_type_hints(command, include_extras=True)
        known = inspect.signature(command).parameters
        parameters = [each.replace(annotation=hints[name]) for name, each in known.items()]
        at = list(known).index("models")
        parameters[at : at + 1] = _parameters(flag, about)
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in [context, *parameters]]

        @functools.wraps(command)
        def wrapper(*, context: typer.Context, **given: Any) -> None:
            models = _chosen(context, {name: given.pop(name) for name in ("model", *_OPTIONS)}, flag)
            command(models=models, **given)

        # typer reads these; without its own, it would follow the function that is wrapped.
        del wrapper.__wrapped__
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect
        wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
        return wrapper

    return decorated


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "api_base": (
        str | None,
        typer.Option(
            "--api-base",
            envvar="HYPERALIGN_API_BASE",
            metavar="URL",
            help="Address of the server, for a hosted model at another place.",
        ),
    ),
    "api_version": (
        str | None,
        typer.Option("--api-version", envvar="HYPERALIGN_API_VERSION", help="Version of its interface, for Azure."),
    ),
    "headers": (
        list[str] | None,
        typer.Option(
            "--header",
            metavar="'NAME: VALUE'",
            help="Sent with each request; may be repeated. HYPERALIGN_HEADERS has one a line.",
        ),
    ),
    "temperature": (
        float | None,
        typer.Option("--temperature", min=0, max=2, envvar="HYPERALIGN_TEMPERATURE", help="Where a model takes one."),
    ),
    "reasoning_effort": (
        str | None,
        typer.Option(
            "--reasoning-effort",
            envvar="HYPERALIGN_REASONING_EFFORT",
            help="How much a thinking model thinks: none, minimal, low, medium, high, xhigh or max.",
        ),
    ),
    "concurrency": (
        int | None,
        typer.Option(
            "--concurrency",
            min=1,
            envvar="HYPERALIGN_CONCURRENCY",
            help="Calls at once; if left out 8 for a hosted model, and what a local server takes.",
        ),
    ),
    "timeout": (
        float | None,
        typer.Option(
            "--timeout",
            envvar="HYPERALIGN_TIMEOUT",
            metavar="SECONDS",
            help="How long to wait for an answer; 120 if left out, 600 for local models.",
        ),
    ),
}


def _parameters(flag: str, about: str) -> Sequence[inspect.Parameter]:
    model = typer.Option(flag, envvar="HYPERALIGN_MODEL", help=about)
    first = inspect.Parameter(
        "model", inspect.Parameter.KEYWORD_ONLY, default=DEFAULT_MODEL, annotation=Annotated[str, model]
    )
    rest = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])
        for name, (kind, option) in _OPTIONS.items()
    ]
    return [first, *rest]


def _chosen(context: typer.Context, given: dict[str, Any], flag: str) -> ModelOptions:
    from hyperalign.errors import InputError

    model = str(given.pop("model"))
    source = {name: getattr(context.get_parameter_source(name), "name", "") for name in ("model", *given)}
    for name in _PLACE:
        # The file's address is of the file's model: with another one, that one's key would go there.
        if (
            source[name] == "DEFAULT_MAP"
            and source["model"] != "DEFAULT_MAP"
            and model != context.lookup_default("model")
        ):
            given[name] = None
        if source[name] == "COMMANDLINE" and model.startswith(_OWN_ADDRESS):
            raise InputError(
                f"--{name.replace('_', '-')} is for hosted models, and {flag} is {model}.",
                remedy="A server of your own is named as vllm:ADDRESS, or as openai/NAME with --api-base.",
            )
    if from_environment := {name: given[name] for name in given if source[name] == "ENVIRONMENT"}:
        from hyperalign.settings import checked, variable

        # Under its own name: whoever set it long ago would look for a flag that was never given.
        checked(from_environment, said=variable)
    said = given.pop("headers") or [line for line in os.environ.get("HYPERALIGN_HEADERS", "").splitlines() if line]
    return ModelOptions(model, headers=_headers(said), **given)


def _headers(said: Sequence[str]) -> dict[str, str]:
    """Names and values of headers; a message never repeats them, as they may hold a secret."""
    from hyperalign.errors import InputError

    found = {}
    for number, header in enumerate(said, start=1):
        name, colon, value = (part.strip() for part in header.partition(":"))
        if not colon or not name or set(name) - _TOKEN or not value.isprintable() or not value.isascii():
            raise InputError(
                f"Header {number} of {len(said)} is not of the form 'NAME: VALUE'.",
                remedy='Write it as: --header "X-Team: a"',
            )
        found[name] = value
    return found
