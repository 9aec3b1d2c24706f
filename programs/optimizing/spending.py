"""One budget for all models of a search, however they were connected.

By shape: a model with a method ``metered`` can be given another budget; any other spends what it spends. This file
knows no runtime.
"""

from __future__ import annotations

from typing import Any

import dspy

from hyperalign.budget import Budget

__all__ = ["Purse", "purse_of"]


class Purse:
    """Hands out models that spend one budget.

    Args:
        budget: what they book in.
        strict: whether models that have another budget are given this one instead.
    """

    def __init__(self, budget: Budget, *, strict: bool) -> None:
        self.budget = budget
        self._strict = strict
        # The same model in two places stays one: its journal tells repeated requests apart.
        self._metered: dict[int, tuple[Any, Any]] = {}

    def model(self, lm: Any) -> Any:
        """A model that spends the budget; the same one if it does already, or can't be metered."""
        if not self._wants(lm):
            return lm
        if id(lm) not in self._metered:
            journal = getattr(getattr(getattr(lm, "engine", None), "meter", None), "journal", None)
            self._metered[id(lm)] = (lm, lm.metered(budget=self.budget, journal=journal))
        return self._metered[id(lm)][1]

    def program(self, program: dspy.Module) -> dspy.Module:
        """A program whose own models spend the budget; the same one if there is none that does not."""
        own = [
            (name, attribute, value)
            for name, module in program.named_sub_modules()
            for attribute, value in vars(module).items()
            if self._wants(value)
        ]
        if not own:
            return program
        copied = program.deepcopy()
        modules = dict(copied.named_sub_modules())
        for name, attribute, value in own:
            setattr(modules[name], attribute, self.model(value))
        return copied

    def _wants(self, value: Any) -> bool:
        if isinstance(value, type) or not callable(getattr(value, "metered", None)):
            return False
        theirs = getattr(value, "budget", None)
        return theirs is not self.budget and (self._strict or theirs is None)


def purse_of(budget: Budget | None, lm: Any) -> Purse:
    """The purse of a search.

    Args:
        budget: that was asked for; that of the model if None.
        lm: the model that the program runs on.
    """
    theirs = getattr(lm, "budget", None)
    return Purse(budget or (theirs if isinstance(theirs, Budget) else Budget()), strict=budget is not None)
