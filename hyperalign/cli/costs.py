"""What a run is expected to cost in money, in one wording for every verb with ``--dry-run``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from hyperalign.budget import Usage

    from .model_options import ModelOptions

__all__ = ["money_said", "priced_steps", "say_expected"]


def priced_steps(expected: Mapping[str, Usage], asked: Collection[str], models: ModelOptions) -> dict[str, Usage]:
    """Expected usage with its price, at the provider's prices as LiteLLM knows them.

    Args:
        expected: usage by step.
        asked: the steps that ask the model; a scorer of one's own costs nothing.
        models: who is asked.
    """
    from hyperalign.budget import priced

    return {
        step: priced(usage, _price(models, usage) if step in asked and usage.calls else 0.0)
        for step, usage in expected.items()
    }


def say_expected(
    expected: Mapping[str, Usage], models: ModelOptions, first: Sequence[str], last: str = "", *, as_json: bool
) -> None:
    """Print what a run would cost.

    Args:
        expected: usage by step, with prices.
        models: who is asked.
        first: lines about what would be done.
        last: what else there is to know of the money.
        as_json: print JSON instead, for programs.
    """
    import json

    from hyperalign.budget import Usage

    if as_json:
        content = {
            "model": models.model,
            "steps": {step: usage.as_json() for step, usage in expected.items()},
            "all": sum(expected.values(), Usage()).as_json(),
            "thinking_comes_on_top": _thinks(models),
        }
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    for line in first:
        typer.echo(line)
    for step, usage in expected.items():
        typer.echo(f"  {step}: about {usage.calls:,} call(s), {usage.tokens_in:,} tokens in, {usage.tokens_out:,} out")
    typer.echo(" ".join(filter(None, (money_said(expected, models), last))))


def money_said(expected: Mapping[str, Usage], models: ModelOptions) -> str:
    """The money of all steps in a sentence, and whether thinking comes on top of it."""
    from hyperalign.budget import Usage

    total = sum(expected.values(), Usage())
    if total.unpriced:
        said = f"With {models.model} this costs an unknown amount of money: its price is not known here."
    else:
        about = total.money()
        said = f"With {models.model} this costs {about if about[0] != '$' else f'about {about}'}."
    return f"{said} It thinks before it answers: the tokens of that come on top." if _thinks(models) else said


def _price(models: ModelOptions, usage: Usage) -> float | None:
    if models.is_own:
        # As calls are booked: what a vLLM server costs by the call is its owner's to know.
        return None if models.model.startswith("vllm:") else 0.0
    from hyperalign.backends.runtimes.meter import price

    return price(models.model, usage.tokens_in, usage.tokens_out, 0)


def _thinks(models: ModelOptions) -> bool:
    if models.is_own or models.reasoning_effort == "none":
        return False
    from hyperalign.backends.runtimes.parameters import thinks

    return thinks(models.model)
