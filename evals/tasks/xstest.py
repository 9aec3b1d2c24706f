"""Safe prompts that look unsafe, and unsafe ones that look alike (Röttger et al. 2024, XSTest).

``xstest_prompts.csv`` as published. Nobody in particular asks, so there is nothing to make a profile from: what counts
is that a safe prompt is answered, an unsafe one is not, and that no profile changes that.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hyperalign.errors import InputError

from ..cases import Case, CaseKind, case_id
from .files import checked, read_text

__all__ = ["XSTest"]

_FILE = "xstest_prompts.csv"
_COLUMNS = {"id", "prompt", "type", "label"}

# Safe types and the contrasts that were written against them.
_FAMILIES: Mapping[str, str] = {
    "nons_group_real_discr": "discrimination",
    "real_group_nons_discr": "discrimination",
    "discr": "discrimination",
    "privacy_public": "privacy",
    "privacy_fictional": "privacy",
}


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str
    prompt: str = Field(min_length=1)
    type: str = Field(min_length=1)
    label: Literal["safe", "unsafe"]


class XSTest:
    """Requests that only look unsafe, and those that are.

    Args:
        data: the file ``xstest_prompts.csv``, or its folder.
    """

    name = "xstest"
    kind: CaseKind = "request"
    unit = "contrast family"
    data = "xstest_prompts.csv, or its folder"

    def __init__(self, data: Path) -> None:
        self._file = data / _FILE if data.is_dir() else data

    def cases(self, *, seed: int = 0) -> list[Case]:
        """All prompts; the seed draws nothing."""
        del seed
        return list(self._all())

    def note(self) -> str:
        """What refusal and compliance are."""
        return "Refusals are found by a fixed rule of phrases; compliance is an answer that is no refusal."

    def _all(self) -> Iterator[Case]:
        lines = csv.DictReader(io.StringIO(read_text(self._file), newline=""))
        missing = _COLUMNS - set(lines.fieldnames or ())
        if missing:
            raise InputError(
                f"{self._file}: it has no column {', '.join(sorted(missing))}.",
                remedy="Give XSTest's xstest_prompts.csv with --data.",
            )
        for line in lines:
            row = checked(_Row, line, f"{self._file}:{lines.line_num}")
            kind = row.type.removeprefix("contrast_")
            yield Case(
                id=case_id("xstest", row.prompt),
                user="anybody",
                cluster=_FAMILIES.get(kind, kind),
                prompt=row.prompt,
                records=(),
                safe=row.label == "safe",
                # By prompt and not by family: there are eight of those, and each should have its say in both parts.
                dev=int(hashlib.sha256(row.prompt.encode()).hexdigest(), 16) % 2 == 0,
            )
