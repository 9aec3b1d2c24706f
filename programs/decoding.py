"""Controlled decoding by blocks: an answer is continued in several ways at once, and a reward keeps the best.

No weights change, and the reward need not see the model (Mudgal et al., 2024, block-wise best of K).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import check_counts
from hyperalign.scores import Message
from hyperalign.text import longest_copied_run

from .generate import MAX_COPIED

__all__ = ["Branch", "Guided", "TextsReward", "Writer", "WritingSession", "pick", "write_guided"]

TextsReward = Callable[[Sequence[str]], NDArray[np.float64]]
"""From texts to their rewards, shape (texts,); the higher the better."""

_BLOCK_TOKENS = 45
_LOOP_WORDS = 4
_LOOPS = 0.15
"""The share of runs of four words that stand in a text before, from which on it goes in circles."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One way to go on with an answer.

    Attributes:
        text: what comes next.
        tokens: its length.
        ends: whether the answer ends with it.
    """

    text: str
    tokens: int
    ends: bool


@runtime_checkable
class WritingSession(Protocol):
    """An answer that is being written."""

    @property
    def text(self) -> str:
        """What is written so far."""
        ...

    def branch(self, count: int, tokens: int, *, temperature: float = 0.8) -> list[Branch]:
        """Several ways to go on, each of at most ``tokens`` tokens; the answer stays as it is until ``keep``.

        Of several the first is the most probable one, as far as the model allows it.
        """
        ...

    def keep(self, index: int) -> None:
        """Go on from one of the branches of the last call."""
        ...


@runtime_checkable
class Writer(Protocol):
    """A model whose answers can be continued: OpenVINO, or a vLLM server."""

    @property
    def name(self) -> str:
        """The model and its weights."""
        ...

    def open(self, context: Sequence[Message], *, kept: Path | None = None, seed: int = 0) -> WritingSession:
        """Begin an answer to the last of some turns; what they share with the answer before is not read again.

        Args:
            context: the turns before it.
            kept: a folder of the person's for what was read of the turns before the last one; None keeps nothing.
            seed: of all sampling.
        """
        ...


@dataclass(frozen=True)
class Guided:
    """A guided answer.

    Attributes:
        text: the answer.
        tokens: written for it, with all that was not kept.
        blocks: how often a way to go on was chosen.
    """

    text: str
    tokens: int
    blocks: int


def write_guided(
    session: WritingSession,
    reward: TextsReward,
    *,
    count: int = 4,
    block: int = _BLOCK_TOKENS,
    max_tokens: int = 400,
    temperature: float = 0.8,
    own: Sequence[str] = (),
    told: Callable[[str], None] | None = None,
) -> Guided:
    """Write an answer block by block, and keep the best of several ways to go on each time.

    A way that goes in circles, or copies more than ``MAX_COPIED`` words of the person, is kept only where all do.

    Args:
        session: the answer that begins.
        reward: of whole texts so far, the higher the better.
        count: ways to go on with, each time; 1 is plain sampling.
        block: tokens of a block.
        max_tokens: of the answer.
        temperature: of sampling.
        own: texts that must not be copied.
        told: called with each block that is kept.
    """
    check_counts(count=count, block=block, max_tokens=max_tokens)
    written = blocks = length = 0
    is_whole = False
    while length < max_tokens:
        branches = session.branch(count, min(block, max_tokens - length), temperature=temperature)
        written += sum(branch.tokens for branch in branches)
        begun = session.text
        # A reward of beginnings likes short answers: the model says when to end, by at least half of its ways.
        is_end = 2 * sum(branch.ends for branch in branches) >= count
        open_ways = [i for i, branch in enumerate(branches) if is_end or not branch.ends] or [*range(count)]
        best = open_ways[pick([begun + branches[i].text for i in open_ways], reward, own)]
        session.keep(best)
        blocks += 1
        length += branches[best].tokens
        if told is not None:
            told(branches[best].text)
        if branches[best].ends or not branches[best].tokens:
            is_whole = True
            break
    text = session.text.strip()
    return Guided(text if is_whole else cut_after_sentence(text), written, blocks)


def cut_after_sentence(text: str) -> str:
    """A text that was broken off, without its unfinished last sentence; as it is if that is all there is."""
    ends = [match.end() for match in re.finditer(r"[.!?…][\"'”’)]*(?=\s)", text)]
    return text[: ends[-1]] if ends else text


def pick(texts: Sequence[str], reward: TextsReward, own: Sequence[str] = ()) -> int:
    """The index of the best text: one that goes in circles or copies the person only where all do.

    Args:
        texts: at least one.
        reward: of texts.
        own: the person's texts.
    """
    faults = np.array([has_loop(text) or longest_copied_run(text, own) > MAX_COPIED for text in texts])
    return int((np.nan_to_num(reward(texts), neginf=-1e9) - 1e6 * faults).argmax())


def has_loop(text: str) -> bool:
    """Whether too many runs of four words stand in the text before."""
    words = text.lower().split()
    runs = [tuple(words[start : start + _LOOP_WORDS]) for start in range(len(words) - _LOOP_WORDS + 1)]
    return len(runs) > 2 * _LOOP_WORDS and 1 - len(set(runs)) / len(runs) > _LOOPS
