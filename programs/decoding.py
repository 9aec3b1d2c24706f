"""Controlled decoding by blocks: an answer is continued in several ways at once, and a reward keeps the best.

No weights change, and the reward need not see the model (Mudgal et al., 2024, block-wise best of K).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import check_counts
from hyperalign.scores import Message, TextScore
from hyperalign.text import longest_copied_run, split_plain

from .generate import MAX_COPIED

__all__ = [
    "Author",
    "Branch",
    "Guided",
    "Repeats",
    "TextsReward",
    "Writer",
    "WritingSession",
    "leave_out",
    "pick",
    "write_guided",
]

TextsReward = Callable[[Sequence[str]], NDArray[np.float64]]
"""From texts to their rewards, shape (texts,); the higher the better."""

_BLOCK_TOKENS = 16
_COPY_BEGINS = 4
_LOOP_BEGINS = 5
"""Words in common with a text, and with what is written, from which on a run is not gone on with."""
_MORE_HEAT = 0.5
_RUN_WORDS = 4
_LOOPED = 0.15
"""The share of runs of four words that stand in a text before, from which on it goes in circles."""
_ECHOED = 0.05
"""The share of them that stand in the person's texts, from which on it copies: of their own next article it is 0.02."""
_COMMON_RUNS = 4
"""So many do in a text of any length."""


class Author(NamedTuple):
    """The person that a writer writes as.

    Attributes:
        texts: theirs; the answer does not copy them, and does not go in circles.
        kept: a folder of theirs for what was read of the turns before the last one; None keeps nothing on disk.
        without: the same conversation without them.
        push: how far what is drawn is pushed away from what the model would write ``without`` (context steering, He et
            al., 2024); 0 leaves it as it is, and reads one context alone.
    """

    texts: Sequence[str] = ()
    kept: Path | None = None
    without: Sequence[Message] = ()
    push: float = 0.0


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

        Of several the first is the most probable one, as far as the model allows it. Where no room is left they are
        empty, and end nothing.
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

    def open(
        self, context: Sequence[Message], *, author: Author | None = None, seed: int = 0, room: int = 1
    ) -> WritingSession:
        """Begin an answer to the last of some turns; what they share with the answer before is not read again.

        Args:
            context: the turns before it.
            author: as whom it is written; None for the model's own answer. Writers that have no logits neither push nor
                see to what is copied, and keep nothing.
            seed: of all sampling.
            room: tokens that must be left for the answer.

        Raises:
            ContextLengthError: they are not.
        """
        ...

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        """Score each text as the assistant's next words; see ``hyperalign.scores.Scorer``."""
        ...


class Repeats:
    """Which words would repeat too much: of some texts, or of what is written.

    Words are compared without case and punctuation, as ``longest_copied_run`` does.

    Args:
        texts: that must not be copied.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._copied: dict[tuple[str, ...], set[str]] = {}
        for text in texts:
            _add_followers(self._copied, split_plain(text), _COPY_BEGINS)

    def next_words(self, written: str) -> set[str]:
        """Words that would go on with a run of a text, or of what is written, for too long."""
        words = split_plain(written)
        own: dict[tuple[str, ...], set[str]] = {}
        _add_followers(own, words, _LOOP_BEGINS)
        copied = self._copied.get(tuple(words[-_COPY_BEGINS:]), set())
        return copied | own.get(tuple(words[-_LOOP_BEGINS:]), set())


def _add_followers(found: dict[tuple[str, ...], set[str]], words: Sequence[str], length: int) -> None:
    for start in range(len(words) - length):
        found.setdefault(tuple(words[start : start + length]), set()).add(words[start + length])


@dataclass(frozen=True)
class Guided:
    """A guided answer.

    Attributes:
        text: the answer.
        tokens: written for it, with all that was not kept.
        blocks: how often a way to go on was chosen.
        is_whole: whether it ended by itself; else it was broken off at a number of tokens.
    """

    text: str
    tokens: int
    blocks: int
    is_whole: bool = True


def write_guided(
    session: WritingSession,
    reward: TextsReward,
    *,
    count: int = 4,
    block: int = _BLOCK_TOKENS,
    max_tokens: int = 400,
    temperature: float = 0.8,
    most: int = 0,
    own: Sequence[str] = (),
    told: Callable[[str], None] | None = None,
) -> Guided:
    """Write an answer block by block, and keep the best of several ways to go on each time.

    A way that goes in circles, or copies more than ``MAX_COPIED`` words of the person, is kept only where all do, also
    of those that are drawn once more then.

    Args:
        session: the answer that begins.
        reward: of whole texts so far, the higher the better.
        count: ways to go on with, each time; 1 is plain sampling.
        block: tokens of a block.
        max_tokens: of the answer.
        temperature: of sampling.
        most: the most tokens to write for one of the answer; what is over ``count`` lets ways be drawn once more.
        own: texts that must not be copied.
        told: called with each block that is kept.
    """
    check_counts(count=count, block=block, max_tokens=max_tokens)
    written = blocks = length = 0
    is_whole = False
    while length < max_tokens:
        begun, room = session.text, min(block, max_tokens - length)
        branches = session.branch(count, room, temperature=temperature)
        written += sum(branch.tokens for branch in branches)
        is_affordable = written + count * room <= most * (length + room)
        if is_affordable and _faults([begun + branch.text for branch in branches], own).all():
            # A model that has begun to copy goes on with it, unless it is made to draw what is less likely.
            branches = session.branch(count, room, temperature=temperature + _MORE_HEAT)
            written += sum(branch.tokens for branch in branches)
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
            is_whole = branches[best].ends
            break
    text = session.text.strip()
    return Guided(text if is_whole else cut_after_sentence(text), written, blocks, is_whole)


def leave_out(text: str, source: str) -> list[str]:
    """What a text says without the runs of words that also stand in a source, which may be said again.

    Args:
        text: such as one of the person's, with their signature.
        source: such as a draft to rewrite, with the same signature.

    Returns:
        The parts between those runs; the text itself if there are none.
    """
    length = _COPY_BEGINS + 1
    words, known = split_plain(text), split_plain(source)
    runs = {tuple(known[start : start + length]) for start in range(len(known) - length + 1)}
    covered = [False] * len(words)
    for start in range(len(words) - length + 1):
        if tuple(words[start : start + length]) in runs:
            covered[start : start + length] = [True] * length
    if not any(covered):
        return [text]
    parts = groupby(zip(covered, words, strict=True), key=lambda each: each[0])
    return [" ".join(word for _, word in part) for is_covered, part in parts if not is_covered]


def cut_after_sentence(text: str) -> str:
    """A text that was broken off, without its unfinished last sentence; as it is if that is all there is."""
    ends = [match.end() for match in re.finditer(r"[.!?…][\"'”’)]*(?=\s)", text)]
    return text[: ends[-1]] if ends else text


def pick(texts: Sequence[str], reward: TextsReward, own: Sequence[str] = ()) -> int:
    """The index of the best text: of those that go in circles or copy the person least, the one of most reward.

    Args:
        texts: at least one.
        reward: of texts.
        own: the person's texts.
    """
    return int((np.nan_to_num(reward(texts), neginf=-1e9) - 1e6 * _faults(texts, own)).argmax())


def _faults(texts: Sequence[str], own: Sequence[str]) -> NDArray[np.float64]:
    """How far each text goes in circles or copies the person, shape (texts,); 0 where it does not."""
    known = set[tuple[str, ...]]().union(*map(_runs, own))
    return np.array([_fault(text, own, known) for text in texts])


def _fault(text: str, own: Sequence[str], known: set[tuple[str, ...]]) -> float:
    runs = _runs(text)
    if len(runs) <= 2 * _RUN_WORDS:
        return 0.0
    looped = 1 - len(set(runs)) / len(runs)
    echoed = max(0, sum(run in known for run in runs) - _COMMON_RUNS) / len(runs)
    copied = echoed > 0 and longest_copied_run(text, own) > MAX_COPIED
    return max(0.0, looped - _LOOPED) + max(0.0, echoed - _ECHOED) + copied


def _runs(text: str) -> list[tuple[str, ...]]:
    words = split_plain(text)
    return [tuple(words[start : start + _RUN_WORDS]) for start in range(len(words) - _RUN_WORDS + 1)]
