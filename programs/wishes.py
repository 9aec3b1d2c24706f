"""What is asked of a model only where it offers it: a seed, log-probabilities. Some hosted models refuse the rest.

This file knows no runtime: a model says itself what it takes.
"""

from __future__ import annotations

from typing import Any

__all__ = ["granted"]


def granted(lm: Any, **wishes: Any) -> dict[str, Any]:
    """Settings of a call that a model takes.

    Args:
        lm: a ``dspy`` model; one that does not say what it takes is asked for everything.
        wishes: OpenAI's parameters that a call can do without.
    """
    taken = getattr(lm, "supported_params", wishes)
    return {name: value for name, value in wishes.items() if name in taken}
