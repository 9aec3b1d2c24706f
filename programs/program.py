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

    def save(self, path: Any, save_program: bool = False, modules_to_serialize: list[Any] | None = None) -> None:
        """Save prompts as JSON, or the whole program as DSPy does.

        Models are saved without their keys and without what was asked of them. DSPy loads prompts that were saved with
        a model of ``connect`` (after ``set_lm``) where ``load`` is told ``allow_unsafe_lm_state=True``.

        Args:
            path: a file for prompts, and a folder for the program.
            save_program: the whole program.
            modules_to_serialize: see ``dspy.Module.save``.
        """
        saved = self
        if save_program:
            saved = self.deepcopy()
            _forget(saved)
        super(Program, saved).save(path, save_program, modules_to_serialize)


def _forget(program: dspy.Module) -> None:
    """Give a program models that remember nothing; those that are one model stay one."""
    forgetful: dict[int, dspy.BaseLM] = {}
    for _, module in program.named_sub_modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, dspy.BaseLM):
                lm = forgetful.setdefault(id(value), value.copy())
                lm.history = []
                lm.kwargs.pop("api_key", None)
                setattr(module, name, lm)
