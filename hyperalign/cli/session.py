"""What ``infer``, ``generate`` and ``demo`` have in common: a model, a scorer, a contrast, a budget.

Everything heavy is loaded here, when a verb runs, and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperalign.errors import MissingExtraError, UnknownModelError

if TYPE_CHECKING:
    from hyperalign.budget import Budget
    from hyperalign.contrast import Contrast
    from hyperalign.records import Record
    from hyperalign.scores import Scorer
    from hyperalign.store import Store

    from .terminal import Reporter

__all__ = ["choose_contrast", "choose_scorer"]

_MIN_PEOPLE = 2
_MIN_RECORDS = 6
_OTHERS_READ = 200


def choose_scorer(scorer: str | None, model: str, budget: Budget, report: Reporter) -> Scorer | None:
    """The scorer that was named, or the model's own; None where hypotheses must be tested by choice.

    Raises:
        ModelError: the scorer that was named can't be used.
    """
    from hyperalign.backends.runtimes.scorers.opening import open_scorer

    if scorer == "none":
        return None
    try:
        return open_scorer(scorer or model, budget=budget, progress=report.bytes)
    except (UnknownModelError, MissingExtraError):
        # A scorer nobody asked for by name may be missing: the model is asked instead.
        if scorer:
            raise
        return None


def choose_contrast(path: Path | None, user: str, store: Store | None, like: Sequence[Record]) -> Contrast:
    """Other people: the folder named, else other users of the store if they are enough, else the example people.

    Raises:
        InputError: the folder holds nobody.
    """
    from hyperalign.contrast import FolderContrast, ShippedContrast, StoreContrast

    if path is not None:
        return FolderContrast(path)
    if store is not None:
        kinds = {type(record) for record in like}
        others = [record for record in store.other_records(user, _OTHERS_READ) if type(record) in kinds]
        if len({record.user for record in others}) >= _MIN_PEOPLE and len(others) >= _MIN_RECORDS:
            return StoreContrast(lambda _user: others)
    return ShippedContrast()
