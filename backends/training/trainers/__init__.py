"""One trainer of TRL for each method, one file each.

A builder is handed the student, its rows and the arguments that all methods share, and gives TRL's trainer. It decides
nothing that the recipe says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..recipe import Method
from . import context, dpo, on_policy, sft
from .prepared import Prepared

__all__ = ["BUILDERS", "Build", "Prepared"]


class Build(Protocol):
    """``build(prepared)``: TRL's trainer, ready to train."""

    def __call__(self, prepared: Prepared, /) -> Any:
        """The trainer."""
        ...


BUILDERS: Mapping[Method, Build] = {
    "sft": sft.build,
    "dpo": dpo.build,
    "context": context.build,
    "on-policy": on_policy.build,
}
