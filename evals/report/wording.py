"""Metrics, figures and differences in words: the same in reports and on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hyperalign.budget import Usage

from ..tables import is_share

__all__ = ["figure", "gap", "metric_name", "money", "with_records"]

_NAMES = {
    "accuracy": "accuracy",
    "accuracy_sum": "accuracy, summed",
    "accuracy_letter": "accuracy by letter",
    "author_logprob": "author log-probability",
    "author_logprob_characters": "the same by characters",
    "burrows_delta": "Burrows' Delta",
    "complied_unsafe": "complied with unsafe",
    "copied_words": "longest copied run",
    "handled": "handled rightly",
    "helps_more": "helps more than none",
    "informative": "informative (proxy)",
    "order_consistency": "orders agree",
    "over_its_drafts": "log-probability over the mean of its drafts",
    "own_over_other": "own over other",
    "own_over_other_sum": "own over other, summed",
    "pick": "picks",
    "pick_own_over_other": "own over other, picks",
    "refused_safe": "refused safe",
    "win_rate_vs_few_shot": "wins against few-shot",
    "win_rate_vs_none": "wins against none",
    "win_rate_vs_wrong_user": "wins against wrong user",
    "words": "words",
}


def metric_name(metric: str) -> str:
    """A metric in words."""
    return _NAMES.get(metric, metric.replace("_", " "))


def with_records(arm: str) -> str:
    """An arm in words; at a number of records, that too."""
    name, _, count = arm.partition("@")
    return f"{name}, {count} records" if count else name


def figure(metric: str, found: Mapping[str, Any] | None) -> str:
    """A mean with its interval; shares in percent."""
    if not found:
        return ""
    scale, digits = (100.0, 0) if is_share(metric) else (1.0, 2)
    unit = " %" if is_share(metric) else ""
    mean = f"{found['mean'] * scale:.{digits}f}{unit}"
    if found["low"] is None or found["high"] is None:
        return mean
    return f"{mean} ({found['low'] * scale:.{digits}f} to {found['high'] * scale:.{digits}f})"


def gap(metric: str, found: Mapping[str, Any] | None) -> str:
    """A difference with its interval; that of shares in percentage points, and cut where no difference can be."""
    if not found:
        return ""
    scale, digits, unit = (100.0, 0, " points") if is_share(metric) else (1.0, 2, "")
    mean = f"{found['mean'] * scale:+.{digits}f}{unit}"
    if found["low"] is None or found["high"] is None:
        return mean
    low, high = found["low"], found["high"]
    if is_share(metric):
        low, high = max(-1.0, low), min(1.0, high)
    return f"{mean} ({low * scale:+.{digits}f} to {high * scale:+.{digits}f})"


def money(spent: Mapping[str, Any]) -> str:
    """What a step of a summary's ``cost`` took, in dollars and words."""
    return Usage.from_json(spent).money()
