"""Log-probabilities of given text, from a GGUF file, a checkpoint or a vLLM server, cached in SQLite.

``open_scorer`` makes a scorer from a model's name. It need not be the model that generates: hypotheses of a large
hosted model can be tested by a small one on this machine.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import UnknownModelError
from hyperalign.files import append_line, cache_folder, read_journal
from hyperalign.scores import Message, Scorer, TextScore

from ..catalogue import resolve
from ..download import ensure_local
from ..gguf_graph import BUILDER
from ..number_cache import SCORES, SCORES_FILE, NumberCache, Remembering, digest
from ..servers import locate
from .openvino import OpenVINOScorer
from .vllm import VLLMScorer

__all__ = ["CachedScorer", "OpenVINOScorer", "VLLMScorer", "open_scorer"]

_NOISE_NATS = 0.05
"""Batches of other requests change the sum of a text's log-probabilities by less, and other weights by more."""


class CachedScorer(Remembering[Scorer]):
    """A ``Scorer`` that asks another one only for what it has not seen.

    Keys are the scorer's name and weights, and hashes of context and text: the file holds nobody's words. A scorer with
    a method ``probe`` is a server whose name says nothing of its weights: they are told by the numbers that it gives.

    Args:
        inner: the scorer that knows; ``close`` closes it too.
        path: the SQLite file; made if missing, and safe with two processes.
        budget: where to book calls that were answered from the file alone.

    Attributes:
        hits: texts answered from the file.
        misses: texts the inner scorer was asked about.

    Raises:
        StorageError: the file can't be made, or is not a database.
    """

    def __init__(self, inner: Scorer, path: Path | str, *, budget: Budget | None = None) -> None:
        super().__init__(inner, NumberCache(Path(path), "scores", **SCORES), budget)
        self._probes = Path(path).with_name("scorers.jsonl")
        self._weights = ""
        self._probing = threading.Lock()

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        """Score each text; see ``hyperalign.scores.Scorer``.

        What is new is written in one transaction once the inner scorer has answered.

        Raises:
            StorageError: the file can't be read or written.
        """
        shared = digest(json.dumps([[message["role"], message["content"]] for message in context]))
        weights = self._find_weights()
        keys = [(weights, shared, digest(text)) for text in texts]
        known = self._cache.find(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            fresh = self._inner.score(context, list(missing.values()))
            rows = {key: (score.logprob, score.tokens) for key, score in zip(missing, fresh, strict=True)}
            self._cache.add([(*key, *row) for key, row in rows.items()])
            known |= rows
        self._count(len(texts), len(missing))
        return [TextScore(*known[key]) for key in keys]

    def _find_weights(self) -> str:
        """The name by which scores are remembered: the same for servers whose probes are the same but for rounding."""
        probe: Callable[[], Sequence[float]] | None = getattr(self._inner, "probe", None)
        with self._probing:
            if self._weights:
                return self._weights
            if probe is None:
                self._weights = self.name
                return self._weights
            numbers = [round(number, 4) for number in probe()]
            for known in read_journal(self._probes):
                if _is_same(known, self.name, numbers):
                    self._weights = str(known["weights"])
                    return self._weights
            weights = f"{self.name}@{hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:12]}"
            append_line(self._probes, json.dumps({"name": self.name, "weights": weights, "probe": numbers}))
            self._weights = weights
            return weights


def _is_same(known: Any, name: str, numbers: Sequence[float]) -> bool:
    try:
        before = [float(number) for number in known["probe"]]
        return (
            known["name"] == name
            and bool(known["weights"])
            and len(before) == len(numbers)
            and all(abs(one - other) <= _NOISE_NATS for one, other in zip(before, numbers, strict=True))
        )
    except (KeyError, TypeError, ValueError):
        return False  # written by something else


def open_scorer(
    name: str, *, budget: Budget | None = None, progress: Progress | None = None, preparing: Progress | None = None
) -> Scorer:
    """A scorer whose answers are remembered in the user's cache folder, as numbers and hashes only.

    Args:
        name: ``local:<name from the catalogue or path of a .gguf file>`` or ``vllm:<address or model name>``.
        budget: where to book what is read.
        progress: told of the download of a ``local:`` model's file.
        preparing: told of its preparation, which happens once for a large model.

    Raises:
        UnknownModelError: no such model, or one of a kind that gives no log-probabilities of text.
        MissingExtraError: a ``local:`` model without the part that reads it.
        DownloadError: the model's file can't be had.
        ModelError: the file is damaged, or its kind of model or tokenizer is not known.
    """
    inner = _open(name.strip(), budget, progress, preparing)
    return CachedScorer(inner, cache_folder() / SCORES_FILE, budget=budget)


def _open(name: str, budget: Budget | None, progress: Progress | None, preparing: Progress | None) -> Scorer:
    scheme, _, rest = name.partition(":")
    if scheme == "local":
        model = resolve(rest)
        # Another engine's scores of the same weights are a little different, and must not mix with these.
        name = f"{model.served_name}+openvino{BUILDER}"
        return OpenVINOScorer(ensure_local(model, progress), name=name, budget=budget, progress=preparing)
    if scheme == "vllm":
        served = locate(rest)
        return VLLMScorer(served.base, served.model, api_key=served.api_key, budget=budget)
    raise UnknownModelError(
        f"'{name}' gives no log-probabilities of text.",
        remedy="A scorer is 'local:<name>' or 'vllm:<address>'; without one, hypotheses are tested by choice.",
    )
