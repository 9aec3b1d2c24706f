"""What is done for a person, one verb a file: infer, score, select, generate, and the loop of them all.

Programs get their model, scorer and contrast handed in; they know no runtime, no store and
no benchmark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .optimizing import optimize as optimize

__all__ = ["optimize"]


def __getattr__(name: str) -> Any:
    if name == "optimize":
        from .optimizing import optimize

        return optimize
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
