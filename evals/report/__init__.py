"""The report of a run, written beside its summary: ``report.md`` for a terminal, ``report.html`` for a person.

The page is one file without scripts, and loads nothing. What people and models wrote is escaped.
"""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from hyperalign.charts import dots, forest, lines
from hyperalign.files import write_whole

from ..conditions import kind_of_condition
from ..summary import is_share
from .view import figure, gap, load_view, metric_name, money, with_records

__all__ = ["write_report"]


def write_report(folder: Path) -> list[Path]:
    """Write a run's report anew from its folder.

    Args:
        folder: of a finished run.

    Returns:
        The files that were written.

    Raises:
        InputError: there is no summary in the folder.
        StorageError: the disk is full or not writable.
    """
    view = load_view(folder)
    environment = _environment()
    written = []
    for name in ("report.md", "report.html"):
        text = environment.get_template(f"{name}.j2").render(view=view, summary=view.summary)
        write_whole(folder / name, text.rstrip() + "\n")
        written.append(folder / name)
    return written


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hyperalign.evals.report", "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"figure": figure, "gap": gap, "metric": metric_name, "records": with_records}
    environment.filters |= {"quoted": _quoted, "cell": _cell, "money": money}
    environment.globals |= {
        "forest": forest,
        "dots": dots,
        "lines": lines,
        "is_share": is_share,
        "kind_of_condition": kind_of_condition,
    }
    return environment


def _quoted(text: str) -> str:
    """Somebody's text as a quotation in Markdown, in which nothing is markup."""
    safe = re.sub(r"([\\`*_{}\[\]()#+!|<>&=~-])", r"\\\1", text)
    return "\n".join(f"> {line}" for line in safe.splitlines() or [""])


def _cell(text: str) -> str:
    """A name, or a line from elsewhere, as a cell of a Markdown table, in which nothing is markup."""
    return re.sub(r"([\\`*\[\]|<&])", r"\\\1", " ".join(text.split()))
