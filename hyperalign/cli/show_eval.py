"""Shows what an eval found on a terminal. This file does not run one, and prints nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["comparison_table", "summary_table"]

_SHOWN = (
    "pick",
    "pick_own_over_other",
    "accuracy",
    "own_over_other",
    "accuracy_sum",
    "own_over_other_sum",
    "accuracy_letter",
    "order_consistency",
    "author_logprob",
    "win_rate_vs_none",
    "win_rate_vs_few_shot",
    "win_rate_vs_wrong_user",
    "copied_words",
    "refused_safe",
    "complied_unsafe",
    "helps_more",
    "informative",
)


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Strategies and controls by row, metrics by column."""
    from rich.table import Table

    from hyperalign.evals.report.wording import figure, metric_name

    arms: Mapping[str, Any] = summary["strategies"]
    shown = [metric for metric in _SHOWN if any(metric in metrics for metrics in arms.values())]
    cluster = summary["cluster"]
    title = (
        f"{summary['task']}: {summary['cases']['scored']} cases, 95 % intervals over {cluster['n']} × {cluster['unit']}"
    )
    table = Table("", title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for metric in shown:
        table.add_column(metric_name(metric), justify="right")
    table.columns[0].no_wrap = True
    for arm, metrics in arms.items():
        table.add_row(arm, *(_brief(figure(metric, metrics.get(metric))) for metric in shown))
    return table


def comparison_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Differences between two runs, one row a strategy and metric."""
    from rich.table import Table

    from hyperalign.evals.report.wording import figure, gap, metric_name

    said = "Shares in percent, their differences in points."
    table = Table("strategy", "metric", title=said, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("first", "second", "second minus first", "p (Holm)", "would settle it"):
        table.add_column(name, justify="right")
    for arm, metrics in rows.items():
        for metric, found in metrics.items():
            needed = found["clusters_needed"]
            table.add_row(
                arm,
                metric_name(metric),
                _brief(figure(metric, found["first"])),
                _brief(figure(metric, found["second"])),
                _brief(gap(metric, found["difference"])),
                f"{found['p_holm']:.3f}" if "p_holm" in found else "",
                "" if needed is None else str(needed),
            )
    return table


def _brief(figure: str) -> str:
    """A figure that a terminal can break only before its interval."""
    return figure.replace(" to ", "…").replace(" %", "\u202f%").replace(" points", "")
