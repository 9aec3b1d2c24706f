"""Read a file in memory by a format, and count what it gives."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hyperalign.ingest.interface import Columns, Entry, Fields, Format, PassedOver, Utterance
from hyperalign.ingest.source import Source


def source(data: Any, name: str = "file.json", path: Path | None = None) -> Source:
    if not isinstance(data, bytes):
        data = (data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)).encode()
    return Source(name, data, path)


def read(form: Format, data: Any, columns: dict[str, str] | None = None) -> list[Entry]:
    return list(form.read(data if isinstance(data, Source) else source(data), Columns(columns or {})))


def said(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    """Who wrote what."""
    return [(each.author.name if each.author else "", each.text) for each in entries if isinstance(each, Utterance)]


def answered(entries: Iterable[Entry]) -> list[tuple[str, str | None]]:
    """What was written, and the prompt."""
    return [(each.text, each.prompt) for each in entries if isinstance(each, Utterance)]


def passed_over(entries: Iterable[Entry]) -> dict[str, int]:
    return dict(Counter(each.reason for each in entries if isinstance(each, PassedOver)))


def fields(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    return [dict(each.data) for each in entries if isinstance(each, Fields)]


def authors(entries: Iterable[Entry]) -> dict[str, Any]:
    """The people by name."""
    return {each.author.name: each.author for each in entries if isinstance(each, Utterance | Fields) and each.author}
