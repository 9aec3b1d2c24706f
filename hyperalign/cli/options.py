"""Options that several commands share: each is declared once, here.

``@model_options()`` adds the options of a model call and of its budget to a command, which gets them as one
``ModelOptions``. This module loads only typer, so that ``--help`` is fast.
"""

from __future__ import annotations

import functools
import inspect
import os
import unicodedata
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
    "MAX_SEED",
    "DataOption",
    "DryRun",
    "EncoderOption",
    "ForceOption",
    "FormOption",
    "JsonOption",
    "ModelOptions",
    "PopulationOption",
    "ProfileOption",
    "ProgramOption",
    "PromptArgument",
    "RedactOption",
    "ScorerOption",
    "SeedOption",
    "SkipBad",
    "SpaceOption",
    "StatementsOption",
    "StoreOption",
    "UserArgument",
    "UserOption",
    "YesOption",
    "model_options",
]

DEFAULT_MODEL = "local:qwen2.5-coder-1.5b-instruct"

PromptArgument = Annotated[str, typer.Argument(help="The prompt, or - to read it from standard input.")]


def _composed(user: str | None) -> str | None:
    # One id may be written with composed letters or in parts; see ``records.check_user``.
    return user and unicodedata.normalize("NFC", user)


UserArgument = Annotated[str, typer.Argument(metavar="USER", callback=_composed, help="The user's id.")]
UserOption = Annotated[str | None, typer.Option("--user", callback=_composed, help="The user's id.")]
ProfileOption = Annotated[
    Path | None, typer.Option("--profile", help="Read the profile from this file instead of the store.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Skip invalid lines and files, and report each one.")]
RedactOption = Annotated[
    bool | None,
    typer.Option(
        "--redact/--no-redact",
        envvar="HYPERALIGN_REDACT",
        help="Remove names, email addresses and numbers from the records. Default: yes if the 'privacy' extra is "
        "installed.",
    ),
]
ScorerOption = Annotated[
    str | None,
    typer.Option(
        "--scorer",
        envvar="HYPERALIGN_SCORER",
        help="Model whose log-probabilities score texts: local:NAME, vllm:ADDRESS, or none to ask --model instead. "
        "Default: --model, if it returns log-probabilities.",
    ),
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        envvar="HYPERALIGN_ENCODER",
        metavar="NAME",
        help="Model whose embeddings a reward reads beside measured style: local:NAME, an embedding model's LiteLLM "
        "name, or none. Default: the one that the reward was learned with, and for a new one the embedded encoder.",
    ),
]
StatementsOption = Annotated[
    bool,
    typer.Option(
        "--statements/--no-statements",
        help="Put what was learned into tested statements. --no-statements learns the reward alone, without a model.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="HYPERALIGN_STORE",
        metavar="PLACE",
        help="SQLite file or postgresql:// URL of the store. Default: the store in the data folder.",
    ),
]
PopulationOption = Annotated[
    Path | None,
    typer.Option(
        "--population",
        help="Reference population: a folder with a subfolder or JSONL file per person. Default: other users of the "
        "store if there are at least two, else the example people.",
    ),
]
ProgramOption = Annotated[
    list[Path] | None,
    typer.Option("--program", help="Use the prompts in this folder, written by 'optimize'. Repeatable."),
]
SpaceOption = Annotated[
    Path | None,
    typer.Option("--space", help="JSON file with the preference dimensions to test. Default: the built-in space."),
]
DataOption = Annotated[
    str | None, typer.Option("--data", help="The task's data: a path, or OWNER/NAME on the Hugging Face hub.")
]
FormOption = Annotated[str | None, typer.Option("--form", help="Form of AlignX's personas: pair, ugc, demo or all.")]
MAX_SEED = 2**64 - 1
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="Seed of all random choices.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Estimate the cost and exit.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Accept adapters that failed the gate or were not judged.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


_Command = Callable[..., None]

_MODEL_HELP = "Model: local:NAME, vllm:ADDRESS, or a LiteLLM name such as anthropic/NAME."
_OWN_ADDRESS = ("local:", "vllm:", "adapter:")
_PLACE = ("api_base", "api_version")
_CAPS = ("max_calls", "max_tokens", "max_usd")
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True)
class ModelOptions:
    """A model, how to call it, and how much it may use. None means the model's own default, or no cap.

    Attributes:
        model: name of the model.
        api_base: address of a hosted model's server.
        api_version: API version, for Azure.
        headers: HTTP headers of each request. They may be secret, so they are never shown or written.
        temperature: sampling temperature.
        reasoning_effort: how long a reasoning model thinks.
        concurrency: number of concurrent calls.
        timeout: seconds to wait for an answer.
        max_calls: cap on model calls.
        max_tokens: cap on tokens, prompt and completion together.
        max_usd: cap on cost in US dollars.

    Raises:
        InputError: a value is out of range.
    """

    model: str = DEFAULT_MODEL
    api_base: str | None = None
    api_version: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    temperature: float | None = None
    reasoning_effort: str | None = None
    concurrency: int | None = None
    timeout: float | None = None
    max_calls: int | None = None
    max_tokens: int | None = None
    max_usd: float | None = None

    def __post_init__(self) -> None:
        from hyperalign.errors import hide_userinfo, remember_secret

        # What is said and written of the model has no password; ``connect`` finds it again by the address.
        object.__setattr__(self, "model", hide_userinfo(self.model))
        for value in self.headers.values():
            remember_secret(value)
        # ``connect`` checks the name of the model, and typer the caps.
        given = {name: value for name, value in vars(self).items() if name not in ("model", "headers", *_CAPS)}
        if any(value is not None for value in given.values()):
            from hyperalign.settings import check_settings

            check_settings(given)

    @property
    def is_own(self) -> bool:
        """Whether the model runs on the user's own hardware, and so costs no money."""
        return self.model.startswith(_OWN_ADDRESS)

    def new_budget(self) -> Budget:
        """A budget with these caps."""
        from hyperalign.budget import Budget

        return Budget(max_calls=self.max_calls, max_tokens=self.max_tokens, max_usd=self.max_usd)

    def connect(
        self, *, budget: Budget | None = None, journal: Journal | None = None, progress: Progress | None = None
    ) -> LM:
        """The model to call. Nothing is downloaded or sent before its first call.

        Raises:
            ModelError: the name is unknown, or a server does not answer.
        """
        from hyperalign.backends.models.connect import connect

        return connect(budget=budget, journal=journal, progress=progress, **self.arguments())

    def arguments(self) -> dict[str, Any]:
        """What ``connect`` is given, secret headers included."""
        given: dict[str, Any] = self.identity()
        given |= {"name": given.pop("model"), "extra_headers": dict(self.headers) or None}
        given |= {"concurrency": self.concurrency, "timeout": self.timeout}
        if not self.is_own:
            given["api_version"] = self.api_version
        return {key: value for key, value in given.items() if value is not None}

    def other(self, model: str) -> ModelOptions:
        """Another model with the same concurrency and timeout, but without this one's address and headers."""
        return ModelOptions(model, concurrency=self.concurrency, timeout=self.timeout)

    def identity(self) -> dict[str, Any]:
        """The values that decide the model's answers, as JSON-able data without secrets. They identify a run."""
        from hyperalign.backends.models.transport import environment_base
        from hyperalign.errors import hide_userinfo

        place = {} if self.is_own else {"api_base": self.api_base or environment_base(self.model.partition("/")[0])}
        place = {name: value and hide_userinfo(value) for name, value in place.items()}
        given = {**place, "temperature": self.temperature, "reasoning_effort": self.reasoning_effort}
        return {"model": self.model, **{key: value for key, value in given.items() if value is not None}}


DEFAULT_OPTIONS = ModelOptions()
"""The default model with its default settings."""


def model_options(*, flag: str = "--model", about: str = _MODEL_HELP) -> Callable[[_Command], _Command]:
    """Replace a command's parameter ``models``, a ``ModelOptions``, by the options that make one.

    Args:
        flag: the option that names the model.
        about: its help.

    Returns:
        A decorator for the command.
    """

    def decorate(command: _Command) -> _Command:
        hints = get_type_hints(command, include_extras=True)
        known = inspect.signature(command).parameters
        parameters = [each.replace(annotation=hints[name]) for name, each in known.items()]
        at = list(known).index("models")
        parameters[at : at + 1] = _parameters(flag, about)
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in [context, *parameters]]

        @functools.wraps(command)
        def wrapper(*, context: typer.Context, **given: Any) -> None:
            models = _resolve(context, {name: given.pop(name) for name in ("model", *_OPTIONS)}, flag)
            command(models=models, **given)

        # typer reads these. It would follow __wrapped__ to the original signature.
        del wrapper.__wrapped__
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect
        wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
        return wrapper

    return decorate


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "api_base": (
        str | None,
        typer.Option(
            "--api-base", envvar="HYPERALIGN_API_BASE", metavar="URL", help="Address of a hosted model's server."
        ),
    ),
    "api_version": (
        str | None,
        typer.Option("--api-version", envvar="HYPERALIGN_API_VERSION", help="API version, for Azure."),
    ),
    "headers": (
        list[str] | None,
        typer.Option(
            "--header",
            metavar="'NAME: VALUE'",
            help="HTTP header of each request. Repeatable. HYPERALIGN_HEADERS holds one per line.",
        ),
    ),
    "temperature": (
        float | None,
        typer.Option("--temperature", min=0, max=2, envvar="HYPERALIGN_TEMPERATURE", help="Sampling temperature."),
    ),
    "reasoning_effort": (
        str | None,
        typer.Option(
            "--reasoning-effort",
            envvar="HYPERALIGN_REASONING_EFFORT",
            help="Effort of a reasoning model: none, minimal, low, medium, high, xhigh or max.",
        ),
    ),
    "concurrency": (
        int | None,
        typer.Option(
            "--concurrency",
            min=1,
            envvar="HYPERALIGN_CONCURRENCY",
            help="Concurrent calls. Default: 8 for a hosted model, else what the local server takes.",
        ),
    ),
    "timeout": (
        float | None,
        typer.Option(
            "--timeout",
            envvar="HYPERALIGN_TIMEOUT",
            metavar="SECONDS",
            help="Seconds to wait for an answer. Default: 120, or 600 for a local model.",
        ),
    ),
    "max_calls": (int | None, typer.Option("--max-calls", min=0, help="Stop at this number of model calls.")),
    "max_tokens": (
        int | None,
        typer.Option("--max-tokens", min=0, help="Stop when this number of tokens is used, prompts included."),
    ),
    "max_usd": (float | None, typer.Option("--max-usd", min=0, help="Stop when this many US dollars are spent.")),
}


def _parameters(flag: str, about: str) -> Sequence[inspect.Parameter]:
    model = typer.Option(flag, envvar="HYPERALIGN_MODEL", help=about)
    options = {"model": (str, model, DEFAULT_MODEL)} | {name: (*each, None) for name, each in _OPTIONS.items()}
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
        for name, (kind, option, default) in options.items()
    ]


def _resolve(context: typer.Context, given: dict[str, Any], flag: str) -> ModelOptions:
    from hyperalign.errors import InputError

    model = str(given.pop("model"))
    source = {name: getattr(context.get_parameter_source(name), "name", "") for name in ("model", *given)}
    for name in _PLACE:
        # The address in the settings file belongs to the model in that file. With another model, that model's key
        # would go to the address.
        if (
            source[name] == "DEFAULT_MAP"
            and source["model"] != "DEFAULT_MAP"
            and model != context.lookup_default("model")
        ):
            given[name] = None
        if source[name] == "COMMANDLINE" and model.startswith(_OWN_ADDRESS):
            raise InputError(
                f"--{name.replace('_', '-')} is for hosted models, and {flag} is {model}.",
                remedy="Name your own server as vllm:ADDRESS, or as openai/NAME with --api-base.",
            )
    if from_environment := {name: given[name] for name in given if source[name] == "ENVIRONMENT"}:
        from hyperalign.settings import check_settings, variable

        # Errors name the variable: the user gave no flag.
        check_settings(from_environment, said=variable)
    headers = given.pop("headers") or [line for line in os.environ.get("HYPERALIGN_HEADERS", "").splitlines() if line]
    return ModelOptions(model, headers=_parse_headers(headers), **given)


def _parse_headers(lines: Sequence[str]) -> dict[str, str]:
    """Headers by name. Errors do not repeat them, as they may hold a secret."""
    from hyperalign.errors import InputError

    found = {}
    for number, header in enumerate(lines, start=1):
        name, colon, value = (part.strip() for part in header.partition(":"))
        if not colon or not name or set(name) - _TOKEN or not value.isprintable() or not value.isascii():
            raise InputError(
                f"Header {number} of {len(lines)} is not of the form 'NAME: VALUE'.",
                remedy='Write it as: --header "X-Team: a"',
            )
        found[name] = value
    return found
