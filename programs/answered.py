"""Reads which of two was meant from a model's answer to a question that has two answers.

Where the model offers log-probabilities of its first token they are used, and what it wrote is read where it
does not. What cannot be read is undecided, never right or wrong. This file asks nothing.
"""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["LETTERS", "Either", "share_of_first"]

Either = tuple[str, str]
"""Two answers, of which neither begins as the other does."""

LETTERS: Either = ("A", "B")

_DECORATION = "*\"'`().: \n\t"
# "A", "**B**", "Text A.", "Answer: B", "A, since …", but not "Although …", "A text that …" or "A or B".
_BEFORE = r"\W*(?:(?:the|my|it|this|answer|text|letter|choice|option|is)\W+)*"
_AFTER = r"(?:\W*|\W*[.,:;)\n—–-].*)"


def share_of_first(said: str, logprobs: Any = None, answers: Either = LETTERS) -> float:
    """Probability of the first of two answers.

    Args:
        said: what the model wrote.
        logprobs: of its tokens in OpenAI's form, where there are any.
        answers: the two.

    Returns:
        From the first token's alternatives if both answers are among them, else 1.0 or 0.0 by what is written, or 0.5.
    """
    masses = [0.0, 0.0]
    for alternative in _first_token(logprobs):
        text = str(alternative.get("token", "")).strip(_DECORATION).casefold()
        if not text or alternative.get("logprob") is None:
            continue
        # A word's first token may be its beginning alone: "Harm" of "Harmful".
        meant = [number for number, answer in enumerate(answers) if answer.casefold().startswith(text)]
        if len(meant) == 1:
            masses[meant[0]] += math.exp(float(alternative["logprob"]))
    # One answer alone says only that it won: not by how much.
    if min(masses) > 0 and sum(masses) > 0.5:
        return masses[0] / sum(masses)
    choices = "|".join(re.escape(answer) for answer in answers)
    found = re.fullmatch(f"{_BEFORE}({choices}){_AFTER}", said, re.IGNORECASE | re.DOTALL)
    return 0.5 if found is None else float(found[1].casefold() == answers[0].casefold())


def _first_token(logprobs: Any) -> list[dict[str, Any]]:
    data = logprobs.model_dump() if hasattr(logprobs, "model_dump") else logprobs
    content = (data or {}).get("content") if isinstance(data, dict) else None
    if not content:
        return []
    return list(content[0].get("top_logprobs") or [])
