"""The report of a run: ``report.md`` and ``report.html``, one file without scripts in which all texts are escaped."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from hyperalign.charts import dots, forest, lines
from hyperalign.files import write_whole

from ..conditions import condition_kind
from ..summary import is_share
from .view import condition_name, format_difference, format_estimate, format_money, load_view, metric_name

__all__ = ["write_report"]


def write_report(folder: Path) -> list[Path]:
    """Write the report of a run.

    Args:
        folder: of a finished run.

    Returns:
        The files that were written.

    Raises:
        InputError: there is no summary in the folder.
        StorageError: the disk is full or not writable.
    """
    view = load_view(folder)
    templates = environment()
    written = []
    for name in ("report.md", "report.html"):
        text = templates.get_template(f"{name}.j2").render(view=view, summary=view.summary)
        write_whole(folder / name, text.rstrip() + "\n")
        written.append(folder / name)
    return written


def environment() -> Environment:
    """What renders the templates of reports."""
    found = Environment(
        loader=PackageLoader("hyperalign.evals.report", "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    found.filters |= {
        "cell": _cell,
        "condition": condition_name,
        "difference": format_difference,
        "estimate": format_estimate,
        "metric": metric_name,
        "money": format_money,
        "quoted": _quoted,
    }
    charts = {"dots": dots, "forest": forest, "lines": lines}
    found.globals |= {**charts, "is_share": is_share, "condition_kind": condition_kind}
    return found


def _quoted(text: str) -> str:
    """A text as a quotation in Markdown, with its markup escaped."""
    safe = re.sub(r"([\\`*_{}\[\]()#+!|<>&=~-])", r"\\\1", text)
    return "\n".join(f"> {line}" for line in safe.splitlines() or [""])


def _cell(text: str) -> str:
    """A text as one line or table cell in Markdown, with its markup escaped."""
    return re.sub(r"([\\`*\[\]|<&])", r"\\\1", " ".join(text.split()))
