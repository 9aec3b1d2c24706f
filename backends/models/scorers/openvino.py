"""Log-probabilities of given text from a GGUF file, on this machine's processor (OpenVINO).

The context is read once. The texts follow it side by side in one row, where a mask lets each see the context and itself
alone: nothing is padded. A few contexts stay in memory, and what a context shares with one of them is not read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress, processor_threads
from hyperalign.errors import ContextLengthError, ModelError
from hyperalign.scores import Message, TextScore

from ..catalogue import file_sha256
from ..gguf_file import GGUFFile
from ..gguf_graph import body_and_head, check_installed, compile_graph, log_probabilities
from ..graph_store import stored_graph
from .chat import ModelScorer
from .prefix_cache import PrefixCache
from .tokenizer import ChatTokenizer, check_tokenizer

__all__ = ["OpenVINOScorer"]

# Up to here weights of 16 bits are faster than those of the file, and their graph is made in two seconds.
_SMALL_PARAMETERS = 300_000_000
_BLOCK_TOKENS = 1024
# A row of logits takes 4 bytes a token of the vocabulary, more than once.
_WAVE_TOKENS = 256
_KEPT_TOKENS = 4096
_UNSEEN = -1e9

States = NDArray[np.float32]
"""Keys and values of tokens, shape (layers, 2, groups, tokens, size of a head)."""


class _Requests(NamedTuple):
    """A model's compiled parts; see ``log_probabilities``."""

    body: Any
    head: Any


class _Row(NamedTuple):
    """What is read at once.

    Attributes:
        tokens: what is read.
        places: their positions.
        is_seen: which of them each of them sees, shape (tokens, tokens).
        pairs: the place of one among them, and a token whose log-probability after it is asked.
    """

    tokens: Sequence[int]
    places: Sequence[int]
    is_seen: NDArray[np.bool_]
    pairs: Sequence[tuple[int, int]]


class OpenVINOScorer(ModelScorer):
    """A ``Scorer`` over a GGUF file. The model is loaded for the first text.

    Args:
        path: the model file; it must carry a chat template.
        name: names the model, its weights and what reads them; scores are cached by it.
        n_ctx: tokens of a context with one text that are read at most.
        threads: processor threads; None takes what this process may use.
        budget: where to book what is read.
        progress: told of the layers while the graph of a large model is made, which happens once a machine.

    Raises:
        MissingExtraError: the libraries that read the file are not installed.
        ModelError: the file is missing or damaged, has no chat template, or is of a kind that is not known.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        name: str,
        n_ctx: int = 4096,
        threads: int | None = None,
        budget: Budget | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(name, budget)
        check_installed("Scoring with a GGUF file")
        self._path = Path(path)
        self._file: GGUFFile | None = GGUFFile(self._path)
        check_tokenizer(self._file)
        self._n_ctx = min(n_ctx, int(self._file.value("context_length", n_ctx)))
        self._threads = threads or processor_threads()
        self._progress = progress
        self._loaded: tuple[ChatTokenizer, _Requests] | None = None
        self._prefixes = PrefixCache(_KEPT_TOKENS)
        self._nothing = np.zeros((self._file.layers, 2, self._file.groups, 0, self._file.head_size), np.float32)

    def close(self) -> None:
        """See ``ModelScorer``."""
        with self._lock:
            self._file = self._loaded = None
            self._prefixes.clear()

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        """Score each text as the assistant's next turn; see ``hyperalign.scores.Scorer``.

        The token that would end the turn is not part of the score.

        Args:
            context: the turns before, at least one.
            texts: the continuations.

        Returns:
            One score per text, in order; an empty text scores 0.0 over 0 tokens.

        Raises:
            ContextLengthError: the context and its longest text do not fit.
            BudgetExceededError: a cap is reached.
            ModelError: the scorer is closed, or OpenVINO failed.
            StorageError: the graph can't be kept in the cache folder.
        """
        began = self._begin()
        with self._lock:
            tokenizer, requests = self._load()
            prompt = tokenizer.prompt(context)
            branches = [tokenizer.tokens(text) for text in texts]
            self._check_length(prompt, branches)
            try:
                states, cached = self._read_context(requests, prompt[:-1])
                totals = _read_branches(requests, states, prompt, branches)
            except RuntimeError as error:
                raise ModelError(f"OpenVINO could not read the text: {error}.") from error
        self._book(began, len(prompt) + sum(map(len, branches)), cached=cached)
        return [TextScore(total, len(branch)) for total, branch in zip(totals, branches, strict=True)]

    def _load(self) -> tuple[ChatTokenizer, _Requests]:
        if self._file is None:
            raise ModelError("This scorer is closed.", remedy="Open the model again.")
        if self._loaded is None:
            try:
                body, head = body_and_head(self._graph(self._file))
                # Differences between texts are of the size of what bfloat16 would make of a logit.
                exact = compile_graph(head, self._threads, is_exact=True)
                requests = _Requests(compile_graph(body, self._threads), exact)
            except RuntimeError as error:
                raise ModelError(f"OpenVINO could not load {self._path}: {error}.") from error
            self._loaded = ChatTokenizer(self._file), requests
        return self._loaded

    def _graph(self, file: GGUFFile) -> Any:
        if file.parameters < _SMALL_PARAMETERS:
            return log_probabilities(file, keeps_quantized=False)
        build = partial(log_probabilities, file, keeps_quantized=True, progress=self._progress)
        return stored_graph(self._path, file_sha256(self._path), build)

    def _check_length(self, prompt: list[int], branches: list[list[int]]) -> None:
        longest = len(prompt) + max(map(len, branches), default=0)
        if longest > self._n_ctx:
            raise ContextLengthError(
                f"A context with its text has {longest} tokens; the model reads at most {self._n_ctx} tokens at once.",
                remedy="Shorten the records or the prompt, or open the model with a larger n_ctx.",
            )

    def _read_context(self, requests: _Requests, tokens: list[int]) -> tuple[States, int]:
        """Keys and values of a context's tokens, and of how many they were there already."""
        found = self._prefixes.nearest(tokens)
        states = self._nothing if found is None else found
        cached = states.shape[-2]
        for start in range(cached, len(tokens), _BLOCK_TOKENS):
            _, read = _read_on(requests, states, tokens[start : start + _BLOCK_TOKENS], [])
            states = np.concatenate([states, read], axis=-2)
        if cached < len(tokens):
            self._prefixes.add(tokens, states)
        return states, cached


def _read_branches(requests: _Requests, states: States, prompt: list[int], branches: list[list[int]]) -> list[float]:
    """The log-probability of each text, in nats; the prompt's last token, which predicts their first, is read here."""
    totals = [0.0] * len(branches)
    for wave in _waves(branches):
        if len(wave) == 1:
            totals[wave[0]] = _read_long(requests, states, prompt[-1], branches[wave[0]])
        else:
            found = _read_wave(requests, states, prompt[-1], [branches[text] for text in wave])
            for text, total in zip(wave, found, strict=True):
                totals[text] = total
    return totals


def _waves(branches: list[list[int]]) -> Iterator[list[int]]:
    """Groups of texts to read at once, whose last tokens need no reading."""
    wave: list[int] = []
    room = _WAVE_TOKENS - 1
    for text, branch in enumerate(branches):
        if not branch:
            continue
        if wave and len(branch) - 1 > room:
            yield wave
            wave, room = [], _WAVE_TOKENS - 1
        wave.append(text)
        room -= len(branch) - 1
    if wave:
        yield wave


def _read_wave(requests: _Requests, states: States, last: int, branches: list[list[int]]) -> list[float]:
    """Texts side by side after the prompt's last token, each unseen by the others."""
    before = states.shape[-2]
    tokens, places, owners = [last], [before], [-1]
    pairs, of_text = [], []
    for text, branch in enumerate(branches):
        # The first token is predicted by the prompt, each other one by the token before it.
        rows = [0, *range(len(tokens), len(tokens) + len(branch) - 1)]
        pairs += list(zip(rows, branch, strict=True))
        of_text += [text] * len(branch)
        tokens += branch[:-1]
        places += range(before + 1, before + len(branch))
        owners += [text] * (len(branch) - 1)
    owner = np.array(owners)
    is_seen = np.tri(len(owner), dtype=bool) & ((owner[:, np.newaxis] == owner) | (owner == -1))
    found, _ = _infer(requests, states, _Row(tokens, places, is_seen, pairs))
    return [float(total) for total in np.bincount(of_text, found, len(branches))]


def _read_long(requests: _Requests, states: States, last: int, branch: list[int]) -> float:
    """One text after the prompt's last token, in blocks."""
    total, tokens = 0.0, [last, *branch[:-1]]
    for start in range(0, len(tokens), _WAVE_TOKENS):
        end = start + _WAVE_TOKENS
        found, read = _read_on(requests, states, tokens[start:end], branch[start:end])
        total += float(found.sum(dtype=np.float64))
        states = np.concatenate([states, read], axis=-2)
    return total


def _read_on(
    requests: _Requests, states: States, tokens: list[int], following: list[int]
) -> tuple[NDArray[np.float32], States]:
    """Read tokens after others: log-probabilities of the tokens that follow each, and the keys and values read."""
    places = range(states.shape[-2], states.shape[-2] + len(tokens))
    is_seen = np.tri(len(tokens), dtype=bool)
    return _infer(requests, states, _Row(tokens, places, is_seen, list(enumerate(following))))


def _infer(requests: _Requests, states: States, row: _Row) -> tuple[NDArray[np.float32], States]:
    """One run of the graphs; see ``log_probabilities``. All tokens see all that was read before."""
    before, length = states.shape[-2], len(row.tokens)
    mask = np.zeros((1, 1, length, before + length), np.float32)
    mask[..., before:][..., ~row.is_seen] = _UNSEEN
    pairs = np.array(row.pairs, np.int64).reshape(-1, 2)
    rows, at = np.unique(pairs[:, 0], return_inverse=True)
    pairs[:, 0] = at.reshape(-1)
    inputs = np.array([row.tokens], np.int64), np.array(row.places, np.int64), mask, states, rows
    requests.body.infer(dict(enumerate(inputs)))
    requests.head.infer({0: requests.body.get_output_tensor(0), 1: pairs})
    # The next call overwrites this memory.
    return requests.head.get_output_tensor(0).data.copy(), requests.body.get_output_tensor(1).data.copy()
