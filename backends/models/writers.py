"""Several ways to go on with an answer, from a GGUF file, on this machine's processor (OpenVINO).

``llama_server`` writes whole answers. What is steered while it is written needs several ways to go on from the same
words, and the prefix read only once: its keys and values stay in memory, and on disk in the person's own folder.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hyperalign.budget import Budget, Usage
from hyperalign.concurrency import Progress, processor_threads
from hyperalign.errors import ContextLengthError, MissingExtraError, ModelError, check_counts
from hyperalign.programs.decoding import Author, Branch, Repeats, Writer
from hyperalign.scores import Message, TextScore

from .catalogue import file_sha256, resolve
from .download import ensure_local
from .gguf_file import GGUFFile
from .gguf_graph import check_installed, compile_graph
from .gguf_writing import Logits, Memory, common, keep_states, kept_file, writing_graph
from .graph_store import stored_graph
from .scorers.tokenizer import ChatTokenizer, check_tokenizer
from .servers import locate
from .vllm_writer import VLLMWriter

__all__ = ["OpenVINOWriter", "open_writer"]

_log = logging.getLogger(__name__)
_TOP_TOKENS, _TOP_MASS = 64, 0.95
_PLAUSIBLE = 0.05
"""The least chance, as a share of the likeliest token's, of one that may be pushed forward (Li et al., 2023)."""
_LEAST_KEPT = 64
"""Fewer tokens are sooner read than found on disk."""
_GLUE = " \t\n_-*\"'"
_ENDS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "</s>")


class OpenVINOWriter:
    """A ``Writer`` over a GGUF file; see ``hyperalign.programs.decoding``. The model is loaded for the first answer.

    One answer is written at a time: opening the next one ends the one before, and scoring one that is pushed.

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
        self._loaded: tuple[ChatTokenizer, Memory, Memory] | None = None
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def open(
        self, context: Sequence[Message], *, author: Author | None = None, seed: int = 0, room: int = 1
    ) -> _Answer:
        """Begin an answer.

        Args:
            context: the turns before it. What they share with the answer before is not read again.
            author: as whom it is written; None for the model's own answer. The keys and values of the turns before the
                last one are kept in their folder, which holds their words and must be theirs alone.
            seed: of all sampling.
            room: tokens that must be left for the answer.

        Raises:
            ContextLengthError: the turns leave less.
            BudgetExceededError: a cap is reached.
            ModelError: the model does not load.
            StorageError: the graph or the folder can't be written.
        """
        began = self._begin()
        with self._lock:
            tokenizer, memory, other = self.load()
            if author is None:
                # What is written for nobody leaves the person's texts in memory.
                memory, other = other, memory
            prompt = self._prompt(tokenizer, context, room)
            stable = common(prompt, tokenizer.prompt(_until_last(context)))
            folder = author.kept if author is not None and stable >= _LEAST_KEPT else None
            file = kept_file(folder, self._name, prompt[:stable]) if folder is not None else None
            cached = memory.rewind(prompt, stable, file)
            tracks = [_Track(memory, prompt, memory.read(prompt))]
            if file is not None and not file.is_file():
                keep_states(file, memory.states(stable))
            if author is not None and author.push and author.without:
                bare = self._prompt(tokenizer, author.without)
                cached += other.rewind(bare, 0)
                tracks.append(_Track(other, bare, other.read(bare)))
        self.book(began, calls=1, tokens_in=sum(len(track.prompt) for track in tracks), tokens_cached=cached)
        return _Answer(self, tracks, author, seed)

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        """Score each text, of a few words, as the next words of an answer, which need not end with it.

        Raises:
            ContextLengthError: the turns leave no room.
            BudgetExceededError: a cap is reached.
            ModelError: the model does not load.
        """
        began = self._begin()
        with self._lock:
            tokenizer, _, memory = self.load()
            prompt = self._prompt(tokenizer, context)
            cached = memory.rewind(prompt, 0)
            first = memory.read(prompt)
            found = []
            for text in texts:
                tokens = tokenizer.tokens(text)
                logits, total = first, 0.0
                for place, token in enumerate(tokens, len(prompt)):
                    total += float(logits[token] - np.logaddexp.reduce(logits))
                    if place + 1 < len(prompt) + len(tokens):
                        (logits,) = memory.step([token], place, np.zeros(1, np.int32))
                if len(tokens) > 1:
                    memory.hold(len(prompt))
                found.append(TextScore(total, len(tokens)))
        self.book(began, calls=1, tokens_in=len(prompt), tokens_cached=cached)
        return found

    def _begin(self) -> float:
        if self._budget is not None:
            self._budget.check()
        return time.perf_counter()

    def book(self, began: float, **spent: int) -> None:
        """Book what was spent since a moment of ``time.perf_counter``."""
        if self._budget is not None:
            self._budget.add(Usage(seconds=time.perf_counter() - began, **spent))

    def load(self) -> tuple[ChatTokenizer, Memory, Memory]:
        """The tokenizer, and two memories of the compiled graph: of a person's context, and of one without them."""
        if self._loaded is None:
            build = partial(writing_graph, self._file, self._progress)
            try:
                graph = stored_graph(self._path, file_sha256(self._path), build, "writing")
                request = compile_graph(graph, self._threads, is_rounded=True)
                other = request.get_compiled_model().create_infer_request()
            except RuntimeError as error:
                raise ModelError(f"OpenVINO could not load {self._path}: {error}.") from error
            tokenizer = ChatTokenizer(self._file)
            self._ends = {tokenizer.special[text] for text in _ENDS if text in tokenizer.special}
            self._barred = [index for index in tokenizer.special.values() if index not in self._ends]
            self._loaded = tokenizer, Memory(request), Memory(other)
        return self._loaded

    def _prompt(self, tokenizer: ChatTokenizer, context: Sequence[Message], room: int = 1) -> list[int]:
        prompt = tokenizer.prompt(context)
        if len(prompt) + room > self._n_ctx - 1:
            raise ContextLengthError(
                f"The prompt has {len(prompt)} tokens; the model takes at most {self._n_ctx} with its answer.",
                remedy="Shorten the prompt, or show fewer texts.",
            )
        return prompt


class _Track:
    """One context of an answer that is being written, and what the model would go on with there."""

    def __init__(self, memory: Memory, prompt: list[int], logits: Logits) -> None:
        self.memory = memory
        self.prompt = prompt
        # After what is kept of the answer, and after each of its branches.
        self.logits = logits
        self.after: Logits = logits[np.newaxis]
        self.source = 0
        self.held = len(prompt)

    def begin(self, count: int, written: int) -> NDArray[np.int32]:
        """Make ready for some branches after so many written tokens; returns the sequence that each goes on from."""
        read = len(self.prompt) + written
        self.memory.tokens = self.prompt
        if self.held > read:
            # Nothing was kept of the last branches, or one that ended.
            self.memory.hold(read, self.source)
            self.source, self.held = 0, read
        self.after = np.repeat(self.logits[np.newaxis], count, axis=0)
        return np.full(count, self.source, np.int32)

    def step(self, drawn: Sequence[int], written: int, sources: NDArray[np.int32]) -> None:
        """Read a token of each branch."""
        at = len(self.prompt) + written
        self.after = self.memory.step(drawn, at, sources)
        self.held = at + 1

    def keep(self, index: int) -> None:
        """Go on from one of the branches."""
        self.logits, self.source = self.after[index], index


class _Answer:
    """An answer that is being written; see ``WritingSession`` in ``hyperalign.programs.decoding``."""

    def __init__(self, writer: OpenVINOWriter, tracks: Sequence[_Track], author: Author | None, seed: int) -> None:
        self._writer = writer
        self._tokenizer, *_ = writer.load()
        self._tracks = tracks
        self._repeats = Repeats(author.texts) if author is not None else None
        self._push = author.push if author is not None else 0.0
        self._draw = np.random.default_rng(seed)
        self._tokens: list[int] = []
        self._branches: list[list[int]] = []

    @property
    def text(self) -> str:
        """What is written so far, without a character that its last token only begins."""
        return self._text_of(self._tokens)

    def _text_of(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.text(tokens).rstrip("\ufffd")

    def branch(self, count: int, tokens: int, *, temperature: float = 0.8) -> list[Branch]:
        """Several ways to go on, each of at most ``tokens`` tokens; the answer stays as it is until ``keep``.

        Args:
            count: how many; the first of several is the most probable one, the others are drawn.
            tokens: how long each is, at most.
            temperature: of what is drawn; 0 takes the most probable token.

        Raises:
            BudgetExceededError: a cap is reached.
        """
        check_counts(count=count, tokens=tokens)
        writer = self._writer
        began = writer._begin()
        read = max(len(track.prompt) for track in self._tracks) + len(self._tokens)
        tokens = max(0, min(tokens, writer._n_ctx - read - 1))
        with writer._lock:
            branches: list[list[int]] = [[] for _ in range(count)]
            self._branches = branches
            ended = [False] * count
            sources = [track.begin(count, len(self._tokens)) for track in self._tracks]
            # The first way is the most probable one: what is drawn must be better than that.
            heats = [0.0 if row == 0 and count > 1 else temperature for row in range(count)]
            for step in range(tokens):
                drawn = [self._pick(row, heat) for row, heat in enumerate(heats)]
                for row, token in enumerate(drawn):
                    ended[row] = ended[row] or token in writer._ends
                    if not ended[row]:
                        branches[row].append(token)
                if all(ended):
                    break
                for track, before in zip(self._tracks, sources, strict=True):
                    track.step(drawn, len(self._tokens) + step, before)
                sources = [np.arange(count, dtype=np.int32)] * len(self._tracks)
        writer.book(began, tokens_out=sum(map(len, branches)))
        return [
            Branch(self._text_of([*self._tokens, *branch])[len(self.text) :], len(branch), ends)
            for branch, ends in zip(branches, ended, strict=True)
        ]

    def keep(self, index: int) -> None:
        """Go on from one of the branches of the last call."""
        self._tokens = [*self._tokens, *self._branches[index]]
        for track in self._tracks:
            track.keep(index)
        self._branches = []

    def _pick(self, row: int, temperature: float) -> int:
        """Draw the next token of a branch."""
        logits = self._tracks[0].after[row]
        logits[self._writer._barred] = -np.inf
        top = np.argpartition(logits, -_TOP_TOKENS)[-_TOP_TOKENS:]
        top = self._allowed(top[np.argsort(-logits[top])], [*self._tokens, *self._branches[row]])
        values = logits[top].astype(np.float64)
        if len(self._tracks) > 1:
            # What is unlikely with the person may be pushed far: it is not what they would write either.
            likely = values >= values[0] + np.log(_PLAUSIBLE)
            top, values = top[likely], values[likely]
            values += self._push * (values - self._tracks[1].after[row][top])
            order = np.argsort(-values)
            top, values = top[order], values[order]
        if temperature <= 0:
            return int(top[0])
        mass = np.exp((values - values[0]) / temperature)
        mass /= mass.sum()
        # Nucleus sampling (Holtzman et al., 2020): the least set of tokens that has this mass.
        kept = int(np.searchsorted(np.cumsum(mass), _TOP_MASS)) + 1
        mass = mass[:kept] / mass[:kept].sum()
        return int(top[self._draw.choice(len(mass), p=mass)])

    def _allowed(self, top: NDArray[np.int64], written: Sequence[int]) -> NDArray[np.int64]:
        """The likeliest tokens without those that repeat something; as they are if all do."""
        words = self._repeats.next_words(self._tokenizer.text(written)) if self._repeats is not None else set[str]()
        if not words:
            return top
        # Other spellings of the same word, glued to the one before, are likely then.
        texts = [self._tokenizer.text([token]).lower().strip(_GLUE) for token in top.tolist()]
        fresh = [not (text and any(word.startswith(text) for word in words)) for text in texts]
        return top[fresh] if any(fresh) else top


def open_writer(name: str, *, budget: Budget | None = None, progress: Progress | None = None) -> Writer | None:
    """A writer of a model; None for a model whose answers can't be continued.

    Such are hosted models, ``local:`` ones of a kind or a tokenizer that only llama.cpp knows, and all where OpenVINO
    can't be installed, which the log says. They write drafts.

    Args:
        name: the model's, as ``connect`` takes it.
        budget: where to book what is read and written.
        progress: told of the download and preparation of a ``local:`` model's file.

    Raises:
        UnknownModelError: no such model.
        DownloadError: the model's file can't be had.
    """
    scheme, _, rest = name.strip().partition(":")
    if scheme == "vllm":
        served = locate(rest)
        writer = VLLMWriter(served.base, served.model, api_key=served.api_key, budget=budget)
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
    path = ensure_local(model, progress)
    try:
        return OpenVINOWriter(path, name=model.served_name, budget=budget, progress=progress)
    except (MissingExtraError, ModelError) as error:
        _log.warning("%s Its answers are chosen among drafts, and not steered while they are written.", error.message)
        return None


def _until_last(context: Sequence[Message]) -> list[Message]:
    """The turns before the last one, with another last one: what both prompts begin with is stable."""
    return [*context[:-1], {"role": "user", "content": "\x00" if context[-1]["content"][:1] != "\x00" else "."}]
