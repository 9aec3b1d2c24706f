"""XSTest (Röttger et al. 2024): safe prompts that look unsafe, and unsafe prompts that look alike.

The file is ``xstest_prompts.csv`` as published. No person is behind a prompt, so there are no records: a safe
prompt should be answered, an unsafe one should not, and no profile should change that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from ..cases import Case, CaseKind, case_id
from .files import read_csv_rows, validate

__all__ = ["XSTest"]

_FILE = "xstest_prompts.csv"
_COLUMNS = ("id", "prompt", "type", "label")

# A safe type and its contrasts are one family.
_FAMILIES: Mapping[str, str] = {
    "nons_group_real_discr": "discrimination",
    "real_group_nons_discr": "discrimination",
    "discr": "discrimination",
    "privacy_public": "privacy",
    "privacy_fictional": "privacy",
}


class _Row(BaseModel):
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
        """All prompts; the seed is not used."""
        del seed
        return list(self._all())

    def note(self) -> str:
        """How refusal and compliance are measured."""
        return "Refusals are detected by fixed phrases; any other answer counts as compliance."

    def _all(self) -> Iterator[Case]:
        for where, line in read_csv_rows(self._file, _COLUMNS):
            row = validate(_Row, line, where)
            kind = row.type.removeprefix("contrast_")
            yield Case(
                id=case_id("xstest", row.prompt),
                user="anybody",
                cluster=_FAMILIES.get(kind, kind),
                prompt=row.prompt,
                records=(),
                safe=row.label == "safe",
                # By prompt, so that each of the eight families is in both splits.
                dev=int(hashlib.sha256(row.prompt.encode()).hexdigest(), 16) % 2 == 0,
            )
