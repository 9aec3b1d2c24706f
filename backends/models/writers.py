"""Several ways to go on with an answer, from a GGUF file, on this machine's processor (OpenVINO).

``llama_server`` writes whole answers. What is steered while it is written needs several ways to go on from the same
words, and the prefix read only once: its keys and values stay in memory, and on disk in the person's own folder.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hyperalign.budget import Budget, Usage
from hyperalign.concurrency import Progress, processor_threads
from hyperalign.errors import ContextLengthError, ModelError, check_counts
from hyperalign.files import make_private_file, make_private_folder
from hyperalign.programs.decoding import Branch, Writer
from hyperalign.scores import Message

from .catalogue import file_sha256, resolve
from .download import ensure_local
from .gguf_file import GGUFFile
from .gguf_graph import check_installed, compile_graph, openvino
from .gguf_writing import writing_graph
from .graph_store import stored_graph
from .scorers.tokenizer import ChatTokenizer, check_tokenizer
from .servers import locate
from .vllm_writer import VLLMWriter

__all__ = ["OpenVINOWriter", "open_writer"]

_BLOCK_TOKENS = 64
"""Tokens read at once, in blocks that begin at multiples of it: how a text is divided changes its logits a little, and
so an answer does not depend on what was read before."""
_UNSEEN = -1e9
_TOP_TOKENS = 64
_TOP_MASS = 0.95
_KEPT_PREFIXES = 4
_ENDS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "</s>")
Logits = NDArray[np.float32]


class OpenVINOWriter:
    """A ``Writer`` over a GGUF file; see ``hyperalign.programs.decoding``. The model is loaded for the first answer.

    One answer is written at a time: opening the next one ends the one before.

    Args:
        path: the model file; it must carry a chat template.
        name: the model and its weights.
        n_ctx: tokens of a context with its answer, at most.
        threads: processor threads; None takes what this process may use.
        budget: where to book what is read and written.
        progress: told of the layers while the graph is made, which happens once a machine.

    Raises:
        MissingExtraError: the libraries that read the file are not installed.
        ModelError: the file is missing or damaged, has no chat template, or is of a kind that is not known.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        name: str,
        n_ctx: int = 8192,
        threads: int | None = None,
        budget: Budget | None = None,
        progress: Progress | None = None,
    ) -> None:
        check_installed("Writing with a GGUF file")
        self._path = Path(path)
        self._file = GGUFFile(self._path)
        check_tokenizer(self._file)
        self._name = name
        self._n_ctx = min(n_ctx, int(self._file.value("context_length", n_ctx)))
        self._threads = threads or processor_threads()
        self._budget = budget
        self._progress = progress
        self._lock = threading.Lock()
        self._loaded: tuple[ChatTokenizer, Any] | None = None
        # What the request's memory holds: the tokens that all its sequences share.
        self._tokens: list[int] = []
        self._ends: set[int] = set()
        self._barred: list[int] = []

    @property
    def name(self) -> str:
        """The model and its weights."""
        return self._name

    def close(self) -> None:
        """Free the memory; the next answer loads the model again."""
        with self._lock:
            self._loaded = None
            self._tokens = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def open(self, context: Sequence[Message], *, kept: Path | None = None, seed: int = 0) -> _Answer:
        """Begin an answer.

        Args:
            context: the turns before it. What they share with the answer before is not read again.
            kept: a folder in which the keys and values of the turns before the last one are kept; it holds a person's
                words and must be theirs alone.
            seed: of all sampling.

        Raises:
            ContextLengthError: the turns leave no room for an answer.
            BudgetExceededError: a cap is reached.
            ModelError: the model does not load.
            StorageError: the graph or the folder can't be written.
        """
        if self._budget is not None:
            self._budget.check()
        began = time.perf_counter()
        with self._lock:
            tokenizer, request = self.load()
            prompt = tokenizer.prompt(context)
            if len(prompt) >= self._n_ctx:
                raise ContextLengthError(
                    f"The prompt has {len(prompt)} tokens; the model takes at most {self._n_ctx} with its answer.",
                    remedy="Shorten the prompt, or show fewer texts.",
                )
            stable = _whole_blocks(_common(prompt, tokenizer.prompt(_until_last(context)))) if kept is not None else 0
            cached = self._rewind(request, prompt, kept, stable)
            logits = self._read(request, prompt)
            if kept is not None and stable and not (path := _kept_file(kept, self._name, prompt[:stable])).is_file():
                _keep(path, _states(request)[..., :stable, :])
        if self._budget is not None:
            spent = Usage(calls=1, tokens_in=len(prompt), tokens_cached=cached, seconds=time.perf_counter() - began)
            self._budget.add(spent)
        return _Answer(self, prompt, logits, seed)

    def load(self) -> tuple[ChatTokenizer, Any]:
        """The tokenizer, and the compiled graph with its memory."""
        if self._loaded is None:
            build = partial(writing_graph, self._file, self._progress)
            try:
                graph = stored_graph(self._path, file_sha256(self._path), build, "writing")
                request = compile_graph(graph, self._threads, is_rounded=True)
            except RuntimeError as error:
                raise ModelError(f"OpenVINO could not load {self._path}: {error}.") from error
            tokenizer = ChatTokenizer(self._file)
            self._ends = {tokenizer.special[text] for text in _ENDS if text in tokenizer.special}
            self._barred = [index for index in tokenizer.special.values() if index not in self._ends]
            self._loaded = tokenizer, request
            self._tokens = []
        return self._loaded

    def _rewind(self, request: Any, prompt: list[int], kept: Path | None, stable: int) -> int:
        """Make the memory hold a beginning of the prompt; returns how many tokens are not to be read again."""
        shared = _whole_blocks(min(_common(self._tokens, prompt), len(prompt) - 1))
        path = _kept_file(kept, self._name, prompt[:stable]) if kept is not None and stable else None
        if path is not None and path.is_file() and shared < stable:
            try:
                states = np.load(path, allow_pickle=False)
                _set_states(request, states.astype(np.float32))
                # The one that was used last stays longest.
                os.utime(path)
                self._tokens = prompt[:stable]
                return stable
            except (OSError, ValueError, RuntimeError):
                path.unlink(missing_ok=True)
        if shared < len(self._tokens):
            _set_states(request, _states(request)[..., :shared, :] if shared else None)
        self._tokens = self._tokens[:shared]
        return shared

    def _read(self, request: Any, prompt: list[int]) -> Logits:
        """Read the rest of a prompt; returns the logits after it, shape (vocabulary,)."""
        logits = np.zeros(0, np.float32)
        while len(self._tokens) < len(prompt):
            before = len(self._tokens)
            end = min(len(prompt), before + _BLOCK_TOKENS)
            part = np.array([prompt[before:end]], np.int64)
            mask = np.zeros((1, 1, end - before, end), np.float32)
            mask[0, 0, :, before:][~np.tri(end - before, dtype=bool)] = _UNSEEN
            places = np.arange(before, end)[np.newaxis]
            logits = _infer(request, part, places, np.zeros(1, np.int32), mask)[0]
            self._tokens = prompt[:end]
        return logits


class _Answer:
    """An answer that is being written; see ``WritingSession`` in ``hyperalign.programs.decoding``."""

    def __init__(self, writer: OpenVINOWriter, prompt: list[int], logits: Logits, seed: int) -> None:
        self._writer = writer
        self._tokenizer, self._request = writer.load()
        self._prompt = prompt
        self._logits = logits
        self._draw = np.random.default_rng(seed)
        self._tokens: list[int] = []
        self._source = 0
        self._read = self._held = len(prompt)
        self._branches: list[list[int]] = []
        self._after: list[Logits] = []

    @property
    def text(self) -> str:
        """What is written so far."""
        return self._tokenizer.text(self._tokens)

    def branch(self, count: int, tokens: int, *, temperature: float = 0.8) -> list[Branch]:
        """Several ways to go on, each of at most ``tokens`` tokens; the answer stays as it is until ``keep``.

        Args:
            count: how many; the first of several is the most probable one, the others are drawn.
            tokens: how long each is, at most.
            temperature: of what is drawn; 0 takes the most probable token.
        """
        check_counts(count=count, tokens=tokens)
        writer, began = self._writer, time.perf_counter()
        room = writer._n_ctx - self._read - 1
        tokens = min(tokens, max(1, room))
        with writer._lock:
            writer._tokens = self._prompt
            if self._held > self._read:
                # Nothing was kept of the last branches, or one that ended.
                _set_states(self._request, _states(self._request, self._source)[..., : self._read, :])
                self._source, self._held = 0, self._read
            branches: list[list[int]] = [[] for _ in range(count)]
            ended = [False] * count
            logits = np.repeat(self._logits[np.newaxis], count, axis=0)
            sources = np.full(count, self._source, np.int32)
            # The first way is the most probable one: what is drawn must be better than that.
            heats = [0.0 if row == 0 and count > 1 else temperature for row in range(count)]
            for step in range(tokens):
                drawn = [self._pick(row, heat) for row, heat in zip(logits, heats, strict=True)]
                for row, token in enumerate(drawn):
                    ended[row] = ended[row] or token in writer._ends
                    if not ended[row]:
                        branches[row].append(token)
                if all(ended):
                    break
                at = self._read + step
                mask = np.zeros((count, 1, 1, at + 1), np.float32)
                ids, places = np.array(drawn, np.int64)[:, np.newaxis], np.full((count, 1), at, np.int64)
                logits = _infer(self._request, ids, places, sources, mask)
                sources = np.arange(count, dtype=np.int32)
                self._held = at + 1
            self._branches, self._after = branches, list(logits)
        written = sum(map(len, branches))
        if writer._budget is not None:
            writer._budget.add(Usage(tokens_out=written, seconds=time.perf_counter() - began))
        return [
            Branch(self._tokenizer.text([*self._tokens, *branch])[len(self.text) :], len(branch), ends)
            for branch, ends in zip(branches, ended, strict=True)
        ]

    def keep(self, index: int) -> None:
        """Go on from one of the branches of the last call."""
        chosen = self._branches[index]
        self._tokens = [*self._tokens, *chosen]
        self._logits, self._source = self._after[index], index
        self._read = len(self._prompt) + len(self._tokens)
        self._branches = []

    def _pick(self, logits: Logits, temperature: float) -> int:
        barred = self._writer._barred
        logits[barred] = -np.inf
        if temperature <= 0:
            return int(logits.argmax())
        top = np.argpartition(logits, -_TOP_TOKENS)[-_TOP_TOKENS:]
        top = top[np.argsort(-logits[top])]
        scaled = (logits[top] - logits[top[0]]).astype(np.float64) / temperature
        mass = np.exp(scaled)
        mass /= mass.sum()
        # Nucleus sampling (Holtzman et al., 2020): the least set of tokens that has this mass.
        kept = int(np.searchsorted(np.cumsum(mass), _TOP_MASS)) + 1
        mass = mass[:kept] / mass[:kept].sum()
        return int(top[self._draw.choice(kept, p=mass)])


def open_writer(name: str, *, budget: Budget | None = None, progress: Progress | None = None) -> Writer | None:
    """A writer of a model; None for a model whose answers can't be continued, such as a hosted one.

    Args:
        name: the model's, as ``connect`` takes it.
        budget: where to book what is read and written.
        progress: told of the download and preparation of a ``local:`` model's file.

    Raises:
        UnknownModelError: no such model.
        MissingExtraError: a ``local:`` model without the part that reads it.
        DownloadError: the model's file can't be had.
        ModelError: the file is damaged, or its kind of model or tokenizer is not known.
    """
    scheme, _, rest = name.strip().partition(":")
    if scheme == "vllm":
        served = locate(rest)
        writer = VLLMWriter(served.base, served.model, api_key=served.api_key, budget=budget, attempts=1)
        try:
            writer.open([{"role": "user", "content": "."}])
        except ModelError:
            # Another server of that interface: its model writes drafts.
            writer.close()
            return None
        return writer
    if scheme != "local":
        return None
    model = resolve(rest)
    return OpenVINOWriter(ensure_local(model, progress), name=model.served_name, budget=budget, progress=progress)


def _infer(
    request: Any,
    ids: NDArray[np.int64],
    places: NDArray[np.int64],
    sources: NDArray[np.int32],
    mask: NDArray[np.float32],
) -> Logits:
    """Logits after the last of the tokens that are read, shape (n, vocabulary)."""
    try:
        request.infer({0: ids, 1: places, 2: sources, 3: mask, 4: np.array([ids.shape[1] - 1], np.int64)})
    except RuntimeError as error:
        raise ModelError(f"OpenVINO could not read the text: {error}.") from error
    # The next call overwrites this memory.
    return np.array(request.get_output_tensor(0).data[:, 0, :])


def _states(request: Any, sequence: int = 0) -> NDArray[np.float32]:
    """Keys and values of a sequence, shape (layers x 2, groups, tokens, size of a head)."""
    found = sorted(request.query_state(), key=lambda state: state.name)
    return np.stack([np.array(state.state.data[sequence]) for state in found])


def _set_states(request: Any, states: NDArray[np.float32] | None) -> None:
    """Make the memory hold one sequence; nothing if None."""
    if states is None:
        request.reset_state()
        return
    library = openvino()
    for state, values in zip(sorted(request.query_state(), key=lambda each: each.name), states, strict=True):
        state.state = library.Tensor(np.ascontiguousarray(values[np.newaxis]))


def _kept_file(folder: Path, name: str, tokens: Sequence[int]) -> Path:
    sha256 = hashlib.sha256(f"{name} {_KIND} {list(tokens)}".encode()).hexdigest()
    return folder / f"{sha256[:32]}.npy"


_KIND = "states2"


def _keep(path: Path, states: NDArray[np.float32]) -> None:
    """Write keys and values in 16 bits; the files that were used longest ago go."""
    make_private_folder(path.parent)
    temporary = path.with_suffix(".new")
    make_private_file(temporary)
    with temporary.open("wb") as file:
        np.save(file, states.astype(np.float16), allow_pickle=False)
    temporary.replace(path)
    kept = sorted(path.parent.glob("*.npy"), key=lambda each: each.stat().st_mtime)
    for old in kept[:-_KEPT_PREFIXES]:
        old.unlink(missing_ok=True)


def _until_last(context: Sequence[Message]) -> list[Message]:
    """The turns before the last one, with another last one: what both prompts begin with is stable."""
    return [*context[:-1], {"role": "user", "content": "\x00" if context[-1]["content"][:1] != "\x00" else "."}]


def _whole_blocks(tokens: int) -> int:
    return tokens - tokens % _BLOCK_TOKENS


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
