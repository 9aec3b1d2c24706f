"""Reads which of two was meant from a model's answer to "A or B?".

Where the model offers log-probabilities of its first token they are used, and a letter is read where it
does not. A letter that cannot be read is undecided, never right or wrong. This file asks nothing.
"""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["share_of_a"]

_DECORATION = "*\"'`().: \n\t"
# "A", "**B**", "Text A.", "Answer: B", "A, since …", but not "Although …", "A text that …" or "A or B".
_LETTER = re.compile(
    r"\W*(?:(?:the|my|answer|text|letter|choice|option|is)\W+)*([AB])(?:\W*|\W*[.,:;)\n—–-].*)",
    re.IGNORECASE | re.DOTALL,
)


def share_of_a(letter: str, logprobs: Any = None) -> float:
    """Probability of A.

    Args:
        letter: what the model wrote.
        logprobs: of its tokens in OpenAI's form, where there are any.

    Returns:
        From the first token's alternatives if both letters are among them, else 1.0 or 0.0 by the letter, or 0.5.
    """
    masses = {"A": 0.0, "B": 0.0}
    for alternative in _first_token(logprobs):
        text = str(alternative.get("token", "")).strip(_DECORATION).upper()
        if text in masses and alternative.get("logprob") is not None:
            masses[text] += math.exp(float(alternative["logprob"]))
    total = masses["A"] + masses["B"]
    # One letter alone says only that it won: not by how much.
    if masses["A"] > 0 and masses["B"] > 0 and total > 0.5:
        return masses["A"] / total
    said = _LETTER.fullmatch(letter)
    return 0.5 if said is None else float(said[1].upper() == "A")


def _first_token(logprobs: Any) -> list[dict[str, Any]]:
    data = logprobs.model_dump() if hasattr(logprobs, "model_dump") else logprobs
    content = (data or {}).get("content") if isinstance(data, dict) else None
    if not content:
        return []
    return list(content[0].get("top_logprobs") or [])
