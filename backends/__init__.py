"""Where models run (``models``), how small ones are trained (``distill``), and how those are served (``serve``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .distill.provider import LocalProvider

__all__ = ["provider"]


def provider(student: str = "local:smollm2-135m-instruct", **options: Any) -> LocalProvider:
    """A provider that lets DSPy's optimizers train on this machine: ``connect(…, provider=provider(…))``.

    Args:
        student: the model to train: ``local:NAME``, or a checkpoint folder.
        options: of ``LocalProvider``.
    """
    from .distill.provider import LocalProvider

    return LocalProvider(student, **options)
