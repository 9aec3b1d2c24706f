"""Whether it helps, whom, and by how much: tasks, controls, metrics, statistics and reports.

::

    from hyperalign.evals import evaluate, load_task

    result = evaluate(program, load_task("squality", data="squality/v1-3/txt"), users=12, seed=7)

Arrows point one way: evals may use programs, and no program knows an eval. The names below are loaded when they
are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .case_metric import CaseMetric as CaseMetric
    from .case_metric import trainset as trainset
    from .cases import Case as Case
    from .cases import Task as Task
    from .compare import compare as compare
    from .evaluation import Result as Result
    from .evaluation import evaluate as evaluate
    from .plan import Plan as Plan
    from .report import write_report as write_report
    from .tasks import load_task as load_task

_HOMES = {
    "Case": "cases",
    "CaseMetric": "case_metric",
    "Plan": "plan",
    "Result": "evaluation",
    "Task": "cases",
    "compare": "compare",
    "evaluate": "evaluation",
    "load_task": "tasks",
    "trainset": "case_metric",
    "write_report": "report",
}

__all__ = [
    "Case",
    "CaseMetric",
    "Plan",
    "Result",
    "Task",
    "compare",
    "evaluate",
    "load_task",
    "trainset",
    "write_report",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'hyperalign.evals' has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
