"""Mean hidden states of an inner layer of a GGUF file, on this machine's processor (OpenVINO).

Manner of writing shows best in the middle layers of a decoder: the last ones predict the next word.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hyperalign.budget import Budget, Usage
from hyperalign.concurrency import processor_threads
from hyperalign.errors import InputError

from ..gguf_file import GGUFFile
from ..gguf_graph import check_installed, compile_graph, hidden_states
from ..scorers.tokenizer import ChatTokenizer, check_tokenizer

__all__ = ["LocalEncoder"]

_WHAT = "Encoding with a GGUF file"
_DEPTH = 2 / 3
_PROMPT_TOKENS = 512
_WINDOW_TOKENS = 1024
# Bounds memory; like lengths go together, so that little is padded.
_WAVE_TOKENS = 1024


class _Window(NamedTuple):
    """Tokens to read together: a stretch of a text after its prompt."""

    item: int
    prompt: list[int]
    tokens: list[int]

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.tokens)


class LocalEncoder:
    """An ``Encoder`` over a GGUF file: the mean over a text's tokens of the hidden states after a layer.

    A text is read as the assistant's answer to its prompt, of which the last 512 tokens count. A long text is read in
    windows of at most 1024 tokens, each after the prompt. The model is loaded for the first text.

    Args:
        path: the model file; it must carry a chat template.
        name: names the model and its weights.
        layer: how many layers are run; None for two thirds of them.
        threads: processor threads; None takes what this process may use.
        budget: where to book what is read.

    Raises:
        MissingExtraError: the libraries that read the file are not installed.
        ModelError: the file is damaged, or its kind of model or tokenizer is not known.
        InputError: the model has no such layer.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        name: str,
        layer: int | None = None,
        threads: int | None = None,
        budget: Budget | None = None,
    ) -> None:
        check_installed(_WHAT)
        self._file = GGUFFile(Path(path))
        check_tokenizer(self._file)
        self._layer = round(self._file.layers * _DEPTH) if layer is None else layer
        if not 1 <= self._layer <= self._file.layers:
            raise InputError(f"{name} has no layer {self._layer}.", remedy=f"Give one from 1 to {self._file.layers}.")
        self._name = f"{name}@{self._layer}"
        self._threads = threads or processor_threads()
        self._budget = budget
        self._lock = threading.Lock()
        self._loaded: tuple[ChatTokenizer, Any] | None = None

    @property
    def name(self) -> str:
        """The model and its weights, and the layer."""
        return self._name

    def close(self) -> None:
        """Free the memory; the next text loads the model again."""
        with self._lock:
            self._loaded = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def encode(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Embed texts as answers to their prompts; see ``hyperalign.programs.reward.features.Encoder``.

        Args:
            items: prompt and text of each.

        Returns:
            One row for each text, shape (n, width); an empty text's is zero.

        Raises:
            BudgetExceededError: a cap is reached.
            ModelError: the model does not load.
        """
        totals = np.zeros((len(items), self._file.width))
        counts = np.zeros(len(items))
        if self._budget is not None:
            self._budget.check()
        began = time.perf_counter()
        with self._lock:
            tokenizer, request = self._loaded or self._load()
            windows = _windows(tokenizer, items)
            for wave in _waves(windows):
                for window, total in zip(wave, _sum_states(request, wave), strict=True):
                    totals[window.item] += total
                    counts[window.item] += len(window.tokens)
        if self._budget is not None and windows:
            tokens = sum(window.length for window in windows)
            self._budget.add(Usage(calls=1, tokens_in=tokens, seconds=time.perf_counter() - began))
        return (totals / np.maximum(counts, 1)[:, np.newaxis]).astype(np.float32)

    def _load(self) -> tuple[ChatTokenizer, Any]:
        request = compile_graph(hidden_states(self._file, self._layer), self._threads)
        self._loaded = ChatTokenizer(self._file), request
        return self._loaded


def _windows(tokenizer: ChatTokenizer, items: Sequence[tuple[str, str]]) -> list[_Window]:
    prompts: dict[str, list[int]] = {}
    windows = []
    for item, (prompt, text) in enumerate(items):
        tokens = tokenizer.tokens(text)
        if not tokens:
            continue
        if prompt not in prompts:
            prompts[prompt] = tokenizer.prompt([{"role": "user", "content": prompt}])[-_PROMPT_TOKENS:]
        # Windows of like size: a short rest would have little to go by.
        count = -(-len(tokens) // _WINDOW_TOKENS)
        windows += [_Window(item, prompts[prompt], [*part]) for part in np.array_split(np.array(tokens), count)]
    return windows


def _waves(windows: list[_Window]) -> list[list[_Window]]:
    """Windows to read at once: of like length, and together of a bounded size."""
    waves: list[list[_Window]] = []
    for window in sorted(windows, key=lambda window: window.length):
        if not waves or window.length * (len(waves[-1]) + 1) > _WAVE_TOKENS:
            waves.append([])
        waves[-1].append(window)
    return waves


def _sum_states(request: Any, wave: list[_Window]) -> list[NDArray[np.float64]]:
    """The sum over each window's text of its tokens' hidden states, shape (width,)."""
    # Padded on the right, which a causal model does not see.
    ids = np.zeros((len(wave), max(window.length for window in wave)), np.int64)
    for row, window in zip(ids, wave, strict=True):
        row[: window.length] = window.prompt + window.tokens
    request.infer({0: ids})
    # The next call overwrites this memory.
    states = request.get_output_tensor(0).data
    return [
        row[len(window.prompt) : window.length].sum(axis=0, dtype=np.float64)
        for row, window in zip(states, wave, strict=True)
    ]
