"""Which adapters may be served: whole ones of one base, that passed their gate, each under a name of its own.

This file loads no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hyperalign.errors import InputError, NotFoundError, TrainingError

from ..training.adapters import Adapter, find_adapters, open_adapter

__all__ = ["check_gate", "choose_adapters"]


def choose_adapters(root: Path, *, force: bool = False) -> list[Adapter]:
    """The adapters under a folder, or the one that the folder is.

    Args:
        root: the folder.
        force: also those that failed the gate, or were never judged.

    Raises:
        NotFoundError: there is none.
        InputError: they are of several bases, or two have one name.
        TrainingError: one is not whole, or did not pass its gate.
    """
    folders = find_adapters(root)
    if not folders:
        raise NotFoundError(f"There is no adapter under {root}.", remedy="Make one: hyperalign distill --help")
    found = [open_adapter(folder) for folder in folders]
    if not force:
        for adapter in found:
            check_gate(adapter)
    bases = sorted({adapter.card.base for adapter in found})
    if len({adapter.card.base_sha256 for adapter in found}) > 1:
        raise InputError(
            f"The adapters under {root} are of {len(bases)} bases: {', '.join(bases)}.",
            remedy="Serve the adapters of one base at a time, each base from a folder of its own.",
        )
    _check_names(found)
    return found


def check_gate(adapter: Adapter) -> None:
    """Refuse an adapter that did not pass its gate.

    Raises:
        TrainingError: it failed, or was never judged.
    """
    verdict = adapter.card.gate
    if verdict is None:
        raise TrainingError(
            f"The adapter {adapter.card.name} was never judged.",
            remedy=f'Ask the gate: hyperalign adapters gate "{adapter.path}", or serve it anyway with --force.',
        )
    if not verdict.passed:
        raise TrainingError(
            f"The adapter {adapter.card.name} failed its gate: {'; '.join(verdict.reasons)}.",
            remedy="Distill it again, or serve it anyway with --force.",
        )


def _check_names(found: Sequence[Adapter]) -> None:
    names = [adapter.card.name for adapter in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"Two adapters are called {twice[0]}.", remedy="Distill one of them under another name.")
