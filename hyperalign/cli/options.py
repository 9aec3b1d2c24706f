"""Options that several verbs share, each in one wording.

Only typer is loaded here: help must be fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "DEFAULT_MODEL",
    "ContrastOption",
    "DryRun",
    "FilesArgument",
    "JsonOption",
    "MaxCalls",
    "MaxTokens",
    "MaxUsd",
    "OutOption",
    "ProgramOption",
    "RedactOption",
    "ScorerOption",
    "SeedOption",
    "SkipBad",
    "SpaceOption",
    "StoreOption",
    "WhoseOption",
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
ContrastOption = Annotated[
    Path | None,
    typer.Option(
        "--contrast",
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
