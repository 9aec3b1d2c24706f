"""Counts the answers of models that could not be used, and ends a run where most of them cannot.

Reads what a model answered to questions that have two answers, one question or several numbered ones.

Where the model offers log-probabilities, those of the token that holds the answer are used, and what it wrote is read
where it does not. What cannot be read is undecided, never right or wrong; ``tally.tally_answers`` counts it.
"""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from hyperalign.errors import UnusableAnswersError

from .answer_parsing import LETTERS, NAMED, AnswerPair, ParsedAnswer, answer_index, parse_answer

__all__ = ["AnswerTally", "check_answers", "count_answer", "read_probabilities", "read_probability", "tally_answers"]

_LOOK_FROM = 16
_REMEMBERED = 3
_QUOTED = 200


@dataclass
class AnswerTally:
    """How many answers were asked for, and how many could not be used.

    Attributes:
        asked: questions that were put, several of which one answer may hold.
        undecided: those of them whose answer could not be used.
        ends: whether most of them end the run.
        odd: the last few answers that could not be used, in the model's own words.
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
        """Count one answer.

        Args:
            read: whether it can be used.
            said: what the model wrote.
            asked: how many questions it was given to that were not asked before.
            undecided: how many more are open than were before.

        Raises:
            UnusableAnswersError: most answers of at least 16 could not be used.
        """
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
            told, last = f"Of {self._answers} answers {self._unusable} could not be used", self.odd[-1]
            self._ended = UnusableAnswersError(
                f"{told}; the model said: {last!r}." if last else f"{told}: the model said nothing.",
                remedy="Choose another --model, or give this one more room to answer.",
            )
        self.check()

    def check(self) -> None:
        """Ask before a call.

        Raises:
            UnusableAnswersError: it was raised before; what runs beside must not go on either.
        """
        if self._ended is not None:
            raise self._ended


_tallies: ContextVar[tuple[AnswerTally, ...]] = ContextVar("hyperalign_tallies", default=())


@contextmanager
def tally_answers(*, ends: bool = True) -> Iterator[AnswerTally]:
    """Count the answers of everything that is asked inside, in threads that copy this context, too.

    Args:
        ends: whether the run ends where most of at least 16 answers cannot be used.

    Yields:
        The tally, which grows as answers come; one inside another counts in both.
    """
    tally = AnswerTally(ends=ends)
    token = _tallies.set((*_tallies.get(), tally))
    try:
        yield tally
    finally:
        _tallies.reset(token)


def count_answer(read: bool, said: str, *, asked: int = 1, undecided: int | None = None) -> None:
    """Count one answer in every tally around the caller.

    Args:
        read: whether it can be used.
        said: what the model wrote, or why there is nothing.
        asked: how many questions it was given to that were not asked before.
        undecided: how many more are open than were before; by default all it was given to where it cannot be used, and
            none where it can.

    Raises:
        UnusableAnswersError: most answers of at least 16 could not be used.
    """
    left_open = (0 if read else asked) if undecided is None else undecided
    for tally in _tallies.get():
        tally.add(read, said, asked=asked, undecided=left_open)


def check_answers() -> None:
    """Ask before a call whether the answers so far are worth another one.

    Raises:
        UnusableAnswersError: most answers of at least 16 could not be used.
    """
    for tally in _tallies.get():
        tally.check()


# One character for one, so that places stay: full-width forms, Cyrillic letters that look alike, and how tokenizers
# write a space or a line break.
_ALIKE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | str.maketrans("АВавĠ▁Ċ。", "ABab  \n.")
_DECORATION = "*\"'`().:[]{}|=>- \n\t"
_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)>.*?(?:</\1>|$)|^.*</(?:think|thinking)>", re.I | re.S)
# Tags and special tokens, LaTeX commands, fences of code and marks of emphasis.
_MARKUP = re.compile(r"<[/|]?\w[^<>\n]{0,30}>|\\[a-z]+(?=\{)|```\w*|[*_`$#]")

_KEYS = rf"(?:(?:{NAMED}|fits?|better|verdict|pick|label)\W{{1,6}})?"
_LINE_LABEL = re.compile(r"(?m)^[^\w\n]*(?:(?:statement|question|item|no|number|quote)\b\W{0,4})?(\d{1,3})(?!\d)")


def read_probability(said: str, logprobs: Any = None, answers: AnswerPair = LETTERS) -> float:
    """Probability of the first of two answers.

    Args:
        said: what the model wrote.
        logprobs: of its tokens in OpenAI's form, where there are any.
        answers: the two.

    Returns:
        From the alternatives of the answer's token if both answers are among them, else 1.0 or 0.0 by what is written,
        or 0.5 where that cannot be read.
    """
    (share,) = read_probabilities(said, 1, logprobs, answers)
    return 0.5 if share is None else share


def read_probabilities(
    said: str, count: int, logprobs: Any = None, answers: AnswerPair = LETTERS
) -> list[float | None]:
    """Probability of the first of two answers, for each of several numbered questions.

    Args:
        said: what the model wrote: a line for each question, a JSON object, a table, or the answers alone in order.
        count: how many questions were asked.
        logprobs: of its tokens in OpenAI's form, where there are any.
        answers: the two.

    Returns:
        One a question, as ``share_of_first`` has it: 0.5 where the model says that it cannot decide, and None where its
        answer is missing, contradicts itself or cannot be read.
    """
    tokens = _tokens(logprobs)
    shown = _without_markup(said.translate(_ALIKE))
    if count == 1:
        # The first token may tell more than what follows it, whatever that is.
        first = _mass(tokens[0], answers) if tokens else None
        if first is not None:
            return [first]
    found = _numbered(shown, count, answers)
    if found is None:
        found = _in_order(shown, count, answers) if count > 1 else _alone(shown, answers)
    return [_share(found.get(number), said, tokens, answers) for number in range(1, count + 1)]


def _share(read: ParsedAnswer | None, said: str, tokens: Sequence[dict[str, Any]], answers: AnswerPair) -> float | None:
    if read is None or read.index is None:
        return None if read is None else 0.5
    token = _token_at(read.at, said, tokens)
    mass = None if token is None else _mass(token, answers)
    return 1.0 - read.index if mass is None else mass


def _without_markup(said: str) -> str:
    """The text with thoughts, tags and emphasis blanked out, so that everything else stays where it is."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    return _MARKUP.sub(blank, _THOUGHT.sub(blank, said))


def _alone(text: str, answers: AnswerPair) -> dict[int, ParsedAnswer]:
    read = parse_answer(text, answers)
    return {} if read is None else {1: read}


def _numbered(text: str, count: int, answers: AnswerPair) -> dict[int, ParsedAnswer] | None:
    """Answers with a number before them, by number, without those that contradict themselves; None without numbers."""
    found: dict[int, list[ParsedAnswer]] = {}
    for number, read in _inline(text, answers):
        found.setdefault(number, []).append(read)
    labels = [match for match in _LINE_LABEL.finditer(text) if int(match[1]) <= count]
    numbers = found.keys() | {int(label[1]) for label in labels}
    # Some models count from 0.
    before = 1 if 0 in numbers and count not in numbers else 0
    for label, end in zip(labels, [*(label.start() for label in labels[1:]), len(text)], strict=False):
        if int(label[1]) in found:
            continue
        told = parse_answer(re.sub(r"^[^\w\n]+", _spaces, text[label.end() : end]), answers, label.end())
        if told is not None:
            found.setdefault(int(label[1]), []).append(told)
    if not found and not labels:
        return None
    agreed = {number: reads[-1] for number, reads in found.items() if len({read.index for read in reads}) == 1}
    return {number + before: read for number, read in agreed.items() if 1 <= number + before <= count}


def _inline(text: str, answers: AnswerPair) -> Iterator[tuple[int, ParsedAnswer]]:
    """Answers right behind a number, of which a line may hold several, where the rest of the line agrees."""
    either = "|".join(re.escape(answer) for answer in answers)
    # "1: A", "1. **B**", "1) A - because …", "| 1 | A |", '"1": "A"', '{"statement": 1, "answer": "A"}'.
    begins = re.compile(
        rf"(?<![\w.])(\d{{1,3}})\W{{0,8}}?(?i:{_KEYS}(?:{NAMED}\s+)?)({either})(?!\w|-\w)(?!\W*(?:or|and|nor)\b)"
    )
    matches = list(begins.finditer(text))
    for match, end in zip(matches, [*(match.start() for match in matches[1:]), len(text)], strict=False):
        line = text.find("\n", match.end(), end)
        read = parse_answer(text[match.start(2) : end if line < 0 else line], answers, match.start(2))
        if read is not None and read.index is not None:
            yield int(match[1]), read


def _spaces(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _in_order(text: str, count: int, answers: AnswerPair) -> dict[int, ParsedAnswer]:
    """Answers without numbers: as many lines, letters or values of a JSON object as there were questions."""
    either = "|".join(re.escape(answer) for answer in answers)
    lines = [match for match in re.finditer(r"[^\n]+", text) if match[0].strip()]
    read = [parse_answer(line[0], answers, line.start()) for line in lines]
    if len(lines) == count:
        return {number: each for number, each in enumerate(read, start=1) if each is not None}
    values = list(re.finditer(rf":\s*\"(?:text\s+)?({either})\"", text, re.I))
    if len(values) != count:
        bare = re.sub(r"\"\w+\"\s*:", _spaces, text)
        together = re.fullmatch(rf"(?:\W*(?:{either}))+\W*", bare, re.I)
        values = list(re.finditer(f"({either})", bare, re.I)) if together else []
    if len(values) != count:
        return {}
    return {
        number: ParsedAnswer(answer_index(each[1], answers), each.start(1))
        for number, each in enumerate(values, start=1)
    }


def _tokens(logprobs: Any) -> list[dict[str, Any]]:
    data = logprobs.model_dump() if hasattr(logprobs, "model_dump") else logprobs
    content = data.get("content") if isinstance(data, dict) else None
    return [token for token in content or [] if isinstance(token, dict)]


def _token_at(at: int, said: str, tokens: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The token that holds one place of what was said; None where the tokens do not spell it."""
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


def _mass(token: dict[str, Any], answers: AnswerPair) -> float | None:
    """The first answer's share of what the alternatives of a token give both; None unless both are among them."""
    masses = [0.0, 0.0]
    for alternative in token.get("top_logprobs") or []:
        text = str(alternative.get("token", "")).translate(_ALIKE).strip(_DECORATION).casefold()
        if not text or alternative.get("logprob") is None:
            continue
        # A word's first token may be its beginning alone: "Harm" of "Harmful".
        meant = [number for number, answer in enumerate(answers) if answer.casefold().startswith(text)]
        if len(meant) == 1:
            masses[meant[0]] += math.exp(float(alternative["logprob"]))
    # One answer alone says only that it won: not by how much.
    return masses[0] / sum(masses) if min(masses) > 0 and sum(masses) > 0.5 else None
