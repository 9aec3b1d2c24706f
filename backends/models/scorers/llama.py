"""Log-probabilities of given text from a GGUF file, at llama.cpp's C level (cyllama).

The context is read once; each text is a branch of it, and many branches share one batch. A few contexts stay in the
key-value cache, and the prefix that a context shares with one of them is not read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperalign.budget import Budget
from hyperalign.concurrency import processor_threads
from hyperalign.errors import ContextLengthError, ModelError
from hyperalign.scores import Message, TextScore

from .chat import ChatTokenizer, ModelScorer, load_llama, load_model
from .prefix_cache import CachedPrefix, PrefixCache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LlamaScorer"]

_BRANCHES = 16
_BATCH = 256
_PREFIXES = 4
# Every token looks at all that lies in the cache, if only to pass it over: more would slow down what is read.
_STAY = 2048


@dataclass(frozen=True, slots=True)
class _Step:
    """One token to read: where it goes, and which token its logits are asked about."""

    token: int
    position: int
    sequence: int
    text: int = -1
    following: int = -1


class LlamaScorer(ModelScorer):
    """A ``Scorer`` over a GGUF file.

    Args:
        path: the model file; it must carry a chat template.
        name: names the model and its weights; scores are cached by it.
        n_ctx: tokens that fit at once, context and branches together.
        threads: processor threads; None takes what this process may use.
        budget: where to book what is read.

    Raises:
        MissingExtraError: cyllama is not installed.
        ModelError: the file is missing, does not load, or has no chat template.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        name: str,
        n_ctx: int = 4096,
        threads: int | None = None,
        budget: Budget | None = None,
    ) -> None:
        super().__init__(name, budget)
        self._llama = load_llama("Scoring with a GGUF file")
        self._model = load_model(self._llama, Path(path))
        self._tokenizer = ChatTokenizer(self._model)
        self._n_ctx = min(n_ctx, self._model.n_ctx_train)
        self._context: Any = None
        self._context = self._open_context(threads or processor_threads())
        self._prefixes = PrefixCache(_PREFIXES, min(_STAY, self._n_ctx))

    def close(self) -> None:
        """See ``ModelScorer``."""
        with self._lock:
            # The context points into the model: the other order crashes.
            if self._context is not None:
                self._context.close()
                self._context = None
                self._model.close()

    def __del__(self) -> None:
        if getattr(self, "_context", None) is not None:
            self.close()

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
            ModelError: the scorer is closed, or llama.cpp failed.
        """
        began = self._begin()
        with self._lock:
            if self._context is None:
                raise ModelError("This scorer is closed.", remedy="Open the model again.")
            prompt = self._tokenizer.prompt(context)
            branches = [self._tokenizer.tokens(text) for text in texts]
            self._check_length(prompt, branches)
            try:
                prefix, cached = self._read_context(prompt)
                logprobs = self._read_branches(prefix, branches)
            except BaseException as error:
                # What the cache holds after a broken or interrupted decode is not known.
                self._forget()
                if isinstance(error, (RuntimeError, ValueError)) and not isinstance(error, ModelError):
                    raise ModelError(f"llama.cpp could not read the text: {error}.") from error
                raise
        self._book(began, len(prompt) + sum(map(len, branches)), cached=cached)
        return [TextScore(total, len(branch)) for total, branch in zip(logprobs, branches, strict=True)]

    def _open_context(self, threads: int) -> Any:
        params = self._llama.LlamaContextParams()
        params.n_ctx = self._n_ctx
        params.n_batch = params.n_ubatch = _BATCH
        params.n_threads = params.n_threads_batch = threads
        params.n_seq_max = _PREFIXES + _BRANCHES
        # Branches share the context's cells instead of copying them.
        params.kv_unified = True
        # On a processor flash attention is no faster here, and its half-precision sums made
        # a text's score hang on its neighbors in the batch six times more than without.
        params.flash_attn_type = 0
        try:
            return self._llama.LlamaContext(self._model, params, verbose=False)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise ModelError(
                f"llama.cpp could not make room for {self._n_ctx} tokens: {error}.", remedy="Choose a smaller n_ctx."
            ) from error

    def _check_length(self, prompt: list[int], branches: list[list[int]]) -> None:
        longest = len(prompt) + max(map(len, branches), default=0)
        if longest > self._n_ctx:
            raise ContextLengthError(
                f"A context with its text has {longest} tokens; the model reads at most {self._n_ctx} tokens at once.",
                remedy="Shorten the records or the prompt, or open the model with a larger n_ctx.",
            )

    def _forget(self) -> None:
        self._prefixes.clear()
        if self._context is not None:
            self._context.kv_cache_clear()

    def _read_context(self, prompt: list[int]) -> tuple[CachedPrefix, int]:
        """Read a prompt into the cache; returns its prefix, and how many of its tokens were there already."""
        known, common = self._prefixes.nearest(prompt)
        if known is not None and known.after is not None and common == len(prompt) == len(known.tokens):
            return known, common
        # At least the last token is read again: its logits predict the first of each text.
        prefix, kept = self._prefix_for(prompt, known, min(common, len(prompt) - 1))
        last = len(prompt) - 1
        steps = [_Step(prompt[i], i, prefix.sequence, text=0 if i == last else -1) for i in range(kept, len(prompt))]
        for _, logits in self._decode(steps):
            prefix.after = _log_softmax(logits)
        return prefix, kept

    def _prefix_for(self, prompt: list[int], known: CachedPrefix | None, kept: int) -> tuple[CachedPrefix, int]:
        """A cached prefix that holds the beginning of a prompt and nothing else, and how much of it."""
        prefix = known
        # A context that is mostly like another takes its place; one that is not stands beside it.
        if known is None or 2 * kept < len(known.tokens):
            self._drop(lambda: self._prefixes.crowded(len(prompt)))
            prefix = self._prefixes.add(len(prompt)) or known
        if prefix is None:
            raise ModelError("No sequence of llama.cpp is free.")
        if known is not None:
            if prefix is not known:
                self._context.memory_seq_cp(known.sequence, prefix.sequence, -1, -1)
            if kept < len(known.tokens) and not self._context.memory_seq_rm(prefix.sequence, kept, -1):
                # A model that can't go back to an earlier token.
                self._forget()
                prefix, kept = self._prefixes.add(0) or prefix, 0
        prefix.tokens, prefix.after = list(prompt), None
        self._drop(lambda: self._prefixes.shed(self._n_ctx))
        return prefix, kept

    def _drop(self, one_to_go: Callable[[], CachedPrefix | None]) -> None:
        while (old := one_to_go()) is not None:
            self._context.memory_seq_rm(old.sequence, -1, -1)

    def _read_branches(self, prefix: CachedPrefix, branches: list[list[int]]) -> list[float]:
        if prefix.after is None:
            raise ModelError("llama.cpp gave no logits for the context.")
        need = sum(len(branch) - 1 for branch in branches if branch)
        self._drop(lambda: self._prefixes.shed(self._n_ctx - need))
        totals = [float(prefix.after[branch[0]]) if branch else 0.0 for branch in branches]
        for wave in self._waves(branches):
            for sequence in range(_PREFIXES, _PREFIXES + len(wave)):
                self._context.memory_seq_cp(prefix.sequence, sequence, -1, -1)
            steps = [
                _Step(branches[text][i], len(prefix.tokens) + i, sequence, text, branches[text][i + 1])
                for sequence, text in enumerate(wave, start=_PREFIXES)
                for i in range(len(branches[text]) - 1)
            ]
            for step, logits in self._decode(steps):
                totals[step.text] += float(_log_softmax(logits)[step.following])
            for sequence in range(_PREFIXES, _PREFIXES + len(wave)):
                self._context.memory_seq_rm(sequence, -1, -1)
        return totals

    def _waves(self, branches: list[list[int]]) -> Iterator[list[int]]:
        """Groups of texts whose branches fit beside the context; texts of one token need no reading."""
        wave: list[int] = []
        room = self._n_ctx - self._prefixes.cells
        for text, branch in enumerate(branches):
            need = len(branch) - 1
            if need < 1:
                continue
            if len(wave) == _BRANCHES or need > room:
                yield wave
                wave, room = [], self._n_ctx - self._prefixes.cells
            wave.append(text)
            room -= need
        if wave:
            yield wave

    def _decode(self, steps: list[_Step]) -> Iterator[tuple[_Step, NDArray[np.float32]]]:
        import numpy as np

        for start in range(0, len(steps), _BATCH):
            chunk = steps[start : start + _BATCH]
            batch = self._llama.LlamaBatch(n_tokens=len(chunk), embd=0, n_seq_max=1)
            try:
                for step in chunk:
                    batch.add(step.token, step.position, [step.sequence], step.text >= 0)
                self._context.decode(batch)
                for row, step in enumerate(chunk):
                    if step.text >= 0:
                        yield step, np.asarray(self._context.get_logits_ith(row), dtype=np.float32)
            finally:
                batch.close()


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    top = logits.max()
    return np.asarray(logits - (top + np.log(np.exp(logits - top, dtype=np.float32).sum(dtype=np.float64))), np.float32)
