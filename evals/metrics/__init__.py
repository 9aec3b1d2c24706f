"""Metrics of choices and of writing, and which of them are shares."""

__all__ = ["is_share"]

_SHARES = (
    "accuracy",
    "complied_unsafe",
    "copied_over_limit",
    "handled",
    "helps_more",
    "informative",
    "nearer",
    "order_consistency",
    "own_over_other",
    "pick",
    "refused",
    "repeated_4grams",
    "win_rate",
)


def is_share(metric: str) -> bool:
    """Whether a metric lies between 0 and 1."""
    return metric.startswith(_SHARES)
