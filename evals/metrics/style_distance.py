"""How far an answer's measured style is from the person's, beside how far a generic answer is.

Reads form alone: a nonsense text with the right commas scores well. Use it beside a metric of content.
"""

from __future__ import annotations

from hyperalign.profile import Profile
from hyperalign.style import STANDS_APART, distance, measure

__all__ = ["style_distance"]


def style_distance(answer: str, profile: Profile) -> float:
    """Mean distance over the features in which the person stands apart.

    Args:
        answer: the text to measure.
        profile: whose measured style it is held against.

    Returns:
        Within-person standard deviations, each feature clipped at 3; 0.0 for a profile without measured style.
    """
    person: dict[str, float | None] = {
        name: item.value for name, item in profile.style.items() if abs(item.z) >= STANDS_APART
    }
    return distance(measure(answer), person, names=list(person))
