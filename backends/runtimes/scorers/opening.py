"""From a name to a scorer: ``open_scorer("local:…")`` or ``open_scorer("vllm:…")``, cached by weights.

The scorer need not be the model that generates: hypotheses of a large hosted model can be
tested by a small one on this machine. This file does not know what the scores are for.
"""

from __future__ import annotations

from hyperalign.budget import Budget
from hyperalign.errors import UnknownModelError
from hyperalign.files import cache_folder
from hyperalign.scores import Scorer

from ..catalogue import resolve
from ..download import Progress, ensure_model
from ..vllm_server import locate
from .cache import CachedScorer
from .llama import LlamaScorer
from .vllm import VLLMScorer

__all__ = ["open_scorer"]


def open_scorer(name: str, *, budget: Budget | None = None, progress: Progress | None = None) -> Scorer:
    """A scorer whose answers are remembered in the user's cache folder, as numbers and hashes only.

    Args:
        name: ``local:<name from the catalogue or path of a .gguf file>`` or ``vllm:<address or model name>``.
        budget: where to book what is read.
        progress: told of the download of a ``local:`` model's file.

    Raises:
        UnknownModelError: no such model, or one of a kind that gives no log-probabilities of text.
        MissingExtraError: a ``local:`` model without the part that reads it.
        DownloadError: the model's file can't be had.
    """
    return CachedScorer(_open(name.strip(), budget, progress), cache_folder() / "scores.sqlite", budget=budget)


def _open(name: str, budget: Budget | None, progress: Progress | None) -> Scorer:
    scheme, _, rest = name.partition(":")
    if scheme == "local":
        model = resolve(rest)
        path = ensure_model(model.entry, progress) if model.entry else model.own_path
        if path is None:
            raise UnknownModelError(f"'{name}' names no model file.", remedy="See 'hyperalign models list'.")
        return LlamaScorer(path, name=model.served_name, budget=budget)
    if scheme == "vllm":
        served = locate(rest)
        return VLLMScorer(served.base, served.model, api_key=served.api_key, budget=budget)
    raise UnknownModelError(
        f"'{name}' gives no log-probabilities of text.",
        remedy="A scorer is 'local:<name>' or 'vllm:<address>'; without one, hypotheses are tested by choice.",
    )
