"""What all modules of the package share: copies that share models and data, and saved files without either."""

from __future__ import annotations

import copy
from typing import Any, Self

import dspy

__all__ = ["Program"]


class Program(dspy.Module):
    """A DSPy module whose copies have prompts of their own.

    ``copy.deepcopy`` copies predictors, modules and containers. What a module was handed is shared: models, scorers,
    budgets and other people's records are connections and ledgers, of which a copy would be another one.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        for _, module in self.named_sub_modules():
            memo |= {id(value): value for value in vars(module).values() if isinstance(value, dspy.BaseLM)}
        copied: Self = type(self).__new__(type(self))
        memo[id(self)] = copied
        own = {name: value for name, value in vars(self).items() if name not in ("history", "callbacks")}
        for name, value in own.items():
            is_own = isinstance(value, dspy.Module | list | dict | set | tuple)
            setattr(copied, name, copy.deepcopy(value, memo) if is_own else value)
        copied.history, copied.callbacks = [], []
        return copied
