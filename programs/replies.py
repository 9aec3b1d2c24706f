"""Reads a model's answers to questions with two answers, and counts those that cannot be used.

Where the model offers log-probabilities, those of the token that holds the answer give the probability; else the text
does. An answer that cannot be read is undecided, never right or wrong.
"""

from __future__ import annotations

import math
import re
import threading
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from hyperalign.errors import UnusableAnswersError

from .answer_parsing import (
    LETTERS,
    NAMED,
    WORD,
    AnswerPair,
    ParsedAnswer,
    answer_index,
    blank,
    blank_thoughts,
    parse_answer,
)

__all__ = ["AnswerTally", "check_answers", "count_answer", "read_probabilities", "read_probability", "tally_answers"]

_LOOK_FROM = 16
_REMEMBERED = 3
_QUOTED = 200


@dataclass
class AnswerTally:
    """Counts of questions and of unusable answers.

    Attributes:
        asked: how many questions were asked; one answer may hold several.
        undecided: how many of them have no usable answer.
        ends: whether a majority of unusable answers ends the run.
        odd: the last few unusable answers, in the model's own words.
    """

    asked: int = 0
    undecided: int = 0
    ends: bool = True
    odd: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _answers: int = 0
    _unusable: int = 0
    _ended: UnusableAnswersError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, read: bool, said: str, *, asked: int, undecided: int) -> None:
        """Count one answer; see ``count_answer``."""
        with self._lock:
            self.asked += asked
            self.undecided += undecided
            self._answers += 1
            if undecided > 0 or not read:
                self.odd.append(" ".join(said.split())[:_QUOTED])
            self._unusable += not read
            enough = self._answers >= _LOOK_FROM and 2 * self._unusable > self._answers
            if read or not enough or not self.ends:
                return
            summary, last = f"Of {self._answers} answers {self._unusable} could not be used", self.odd[-1]
            self._ended = UnusableAnswersError(
                f"{summary}; the model said: {last!r}." if last else f"{summary}: the model said nothing.",
                remedy="Choose another --model, or give this one more room to answer.",
            )
        self.check()

    def check(self) -> None:
        """Raise ``UnusableAnswersError`` again if it was raised before: parallel work must end too."""
        if self._ended is not None:
            raise self._ended


_tallies: ContextVar[tuple[AnswerTally, ...]] = ContextVar("hyperalign_tallies", default=())


@contextmanager
def tally_answers(*, ends: bool = True, apart: bool = False) -> Iterator[AnswerTally]:
    """Count the answers to all questions that are asked inside, also in threads that copy the context.

    Args:
        ends: whether the run ends once most of at least 16 answers cannot be used.
        apart: whether tallies around this one leave out what is asked inside.

    Yields:
        The tally; of nested tallies each counts.
    """
    tally = AnswerTally(ends=ends)
    token = _tallies.set((tally,) if apart else (*_tallies.get(), tally))
    try:
        yield tally
    finally:
        _tallies.reset(token)


def count_answer(read: bool, said: str, *, asked: int = 1, undecided: int | None = None) -> None:
    """Count one answer in every tally around the caller.

    Args:
        read: whether it can be used.
        said: what the model wrote, or why there is nothing.
        asked: how many new questions it answers; none for a retry.
        undecided: how many more questions are undecided than before; by default ``asked`` if it cannot be used, else 0.

    Raises:
        UnusableAnswersError: most answers of at least 16 could not be used.
    """
    left_open = (0 if read else asked) if undecided is None else undecided
    for tally in _tallies.get():
        tally.add(read, said, asked=asked, undecided=left_open)


def check_answers() -> None:
    """Raise ``UnusableAnswersError`` again, before a call, if a tally around the caller has raised it."""
    for tally in _tallies.get():
        tally.check()


class _Alike(dict[int, str]):
    """Spells characters as those of ASCII that they stand for, one for one, so that positions stay.

    Full-width, circled and mathematical forms are known to Unicode; Greek and Cyrillic letters that look alike, squared
    ones and tokenizers' forms of a space or a line break are not.
    """

    def __missing__(self, code: int) -> str:
        plain = unicodedata.normalize("NFKC", chr(code))
        self[code] = plain if len(plain) == 1 and plain.isascii() else chr(code)
        return self[code]


_ALIKE = _Alike(zip(map(ord, "АВБавбΑΒ🅰🅱🄰🄱Ġ▁Ċ。"), "ABBabbABABAB  \n.", strict=True))
_DECORATION = "*\"'`().:[]{}|=>- \n\t"
# Tags and special tokens, LaTeX commands, code fences and emphasis. A letter in angle brackets is an answer.
_MARKUP = re.compile(r"<[/|]?(?![ab]>)[\w｜][^<>\n]{0,30}>|\\[a-z]+(?=\{)|```\w*|[*_`$#]", re.I)
_TEXT_TAG, _CLOSED_TEXT = re.compile(r"</?[ab]>", re.I), re.compile(r"</[ab]>", re.I)
_LONGEST = 20_000
"""Characters of an answer without its thoughts that are read; nobody writes that many to name a letter."""

_KEYS = rf"(?:(?:{NAMED}|fits?|better|verdict|pick|label)\W{{1,6}})?"
_LINE_LABEL = re.compile(r"(?m)^[^\w\n]*(?:(?:statement|question|item|no|number|quote)\b\W{0,4})?(\d{1,3})(?!\d)")


def read_probability(said: str, logprobs: Any = None, answers: AnswerPair = LETTERS) -> float:
    """Read the probability of the first of two answers.

    Args:
        said: what the model wrote.
        logprobs: of its tokens, in OpenAI's form; may be None.
        answers: the two.

    Returns:
        By the alternatives of the answer's token if both answers are among them, else 1.0 or 0.0 by the text, or 0.5
        if it cannot be read.
    """
    (share,) = read_probabilities(said, 1, logprobs, answers)
    return 0.5 if share is None else share


def read_probabilities(
    said: str, count: int, logprobs: Any = None, answers: AnswerPair = LETTERS
) -> list[float | None]:
    """Read the probability of the first of two answers, for each of several numbered questions.

    Args:
        said: what the model wrote: a line for each question, a JSON object, a table, or the answers alone in order.
        count: the number of questions.
        logprobs: of its tokens, in OpenAI's form; may be None.
        answers: the two.

    Returns:
        One probability a question: 0.5 if the model says that it cannot decide, None if its answer is missing,
        contradicts itself or cannot be read.
    """
    tokens = _list_tokens(logprobs)
    shown = _blank_markup(said.translate(_ALIKE)).rstrip()
    start = len(shown) - len(shown.lstrip())
    shown = shown[start:]
    if count == 1:
        # The first token tells how sure the answer is, whatever follows it.
        first = _first_share(tokens[0], answers) if tokens else None
        if first is not None:
            return [first]
    if len(shown) > _LONGEST:
        return [None] * count
    found = _read_numbered(shown, count, answers)
    if found is None and count == 1:
        read = parse_answer(shown, answers)
        found = {} if read is None else {1: read}
    elif found is None:
        found = _read_in_order(shown, count, answers)
    return [_to_probability(found.get(number), said, tokens, answers, start) for number in range(1, count + 1)]


def _to_probability(
    read: ParsedAnswer | None, said: str, tokens: Sequence[dict[str, Any]], answers: AnswerPair, start: int
) -> float | None:
    if read is None or read.index is None:
        return None if read is None else 0.5
    token = _find_token(start + read.at, said, tokens)
    mass = None if token is None else _first_share(token, answers)
    return 1.0 - read.index if mass is None else mass


def _blank_markup(said: str) -> str:
    """Blank out thoughts, tags and emphasis."""
    answer = blank_thoughts(said)
    # Whoever closes such a tag repeats one of the texts.
    return _MARKUP.sub(blank, _TEXT_TAG.sub(blank, answer) if _CLOSED_TEXT.search(answer) else answer)


def _read_numbered(text: str, count: int, answers: AnswerPair) -> dict[int, ParsedAnswer] | None:
    """Read answers that follow a number, except contradictory ones; None if there are no numbers."""
    found: dict[int, list[ParsedAnswer]] = {}
    for number, read in _find_inline(text, answers):
        found.setdefault(number, []).append(read)
    labels = [match for match in _LINE_LABEL.finditer(text) if int(match[1]) <= count]
    numbers = found.keys() | {int(label[1]) for label in labels}
    # Some models count from 0.
    before = 1 if 0 in numbers and count not in numbers else 0
    for label, end in zip(labels, [*(label.start() for label in labels[1:]), len(text)], strict=False):
        if int(label[1]) in found:
            continue
        rest = re.sub(r"^[^\w\n]+", blank, text[label.end() : end])
        labeled = parse_answer(rest, answers, label.end(), is_listed=count > 1)
        if labeled is not None:
            found.setdefault(int(label[1]), []).append(labeled)
    if not found and not labels:
        return None
    agreed = {number: reads[-1] for number, reads in found.items() if len({read.index for read in reads}) == 1}
    return {number + before: read for number, read in agreed.items() if 1 <= number + before <= count}


def _find_inline(text: str, answers: AnswerPair) -> Iterator[tuple[int, ParsedAnswer]]:
    """Read answers right after a number, several a line, where the rest of the line agrees."""
    either = "|".join(re.escape(answer) for answer in answers)
    # "1: A", "1. **B**", "1) A - because …", "| 1 | A |", '"1": "A"', '{"statement": 1, "answer": "A"}'.
    begins = re.compile(
        rf"(?<![\w.])(\d{{1,3}})\W{{0,8}}?(?i:{_KEYS}(?:{NAMED}\s+)?)({either})(?!{WORD}|-\w)(?!\W*(?:or|and|nor)\b)"
    )
    matches = list(begins.finditer(text))
    for match, end in zip(matches, [*(match.start() for match in matches[1:]), len(text)], strict=False):
        line = text.find("\n", match.end(), end)
        rest = text[match.start(2) : end if line < 0 else line]
        read = parse_answer(rest, answers, match.start(2), is_listed=True)
        if read is not None and read.index is not None:
            yield int(match[1]), read


def _read_in_order(text: str, count: int, answers: AnswerPair) -> dict[int, ParsedAnswer]:
    """Read answers without numbers: as many lines, letters or JSON values as there were questions."""
    either = "|".join(re.escape(answer) for answer in answers)
    lines = [match for match in re.finditer(r"[^\n]+", text) if match[0].strip()]
    read = [parse_answer(line[0], answers, line.start()) for line in lines]
    if len(lines) == count:
        return {number: each for number, each in enumerate(read, start=1) if each is not None}
    values = list(re.finditer(rf":\s*\"(?:text\s+)?({either})\"", text, re.I))
    if len(values) != count:
        bare = re.sub(r"\"\w+\"\s*:", blank, text)
        together = re.fullmatch(rf"(?:\W*(?:{either}))+\W*", bare, re.I)
        values = list(re.finditer(f"({either})", bare, re.I)) if together else []
    if len(values) != count:
        return {}
    return {
        number: ParsedAnswer(answer_index(each[1], answers), each.start(1))
        for number, each in enumerate(values, start=1)
    }


def _list_tokens(logprobs: Any) -> list[dict[str, Any]]:
    data = logprobs.model_dump() if hasattr(logprobs, "model_dump") else logprobs
    content = data.get("content") if isinstance(data, dict) else None
    return [token for token in content or [] if isinstance(token, dict)]


def _find_token(at: int, said: str, tokens: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The token at a position of the answer; None if the tokens do not spell the answer."""
    whole = "".join(str(token.get("token") or "") for token in tokens)
    begins = whole.find(said) if said else -1
    if at < 0 or begins < 0:
        return None
    place = 0
    for token in tokens:
        place += len(str(token.get("token") or ""))
        if place > begins + at:
            return token
    return None


def _first_share(token: dict[str, Any], answers: AnswerPair) -> float | None:
    """The first answer's share of both answers' probability; None unless both are among a token's alternatives."""
    masses = [0.0, 0.0]
    for alternative in token.get("top_logprobs") or []:
        text = str(alternative.get("token", "")).translate(_ALIKE).strip(_DECORATION).casefold()
        if not text or alternative.get("logprob") is None:
            continue
        # A token may be the beginning of a word: "Harm" of "Harmful".
        meant = [number for number, answer in enumerate(answers) if answer.casefold().startswith(text)]
        if len(meant) == 1:
            masses[meant[0]] += math.exp(float(alternative["logprob"]))
    # One answer alone says only that it won, not by how much.
    return masses[0] / sum(masses) if min(masses) > 0 and sum(masses) > 0.5 else None
