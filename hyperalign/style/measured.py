"""The measured style of a profile, from the texts that a person wrote. This file knows no test and no model."""

from __future__ import annotations

from collections.abc import Sequence

from hyperalign.profile import Measurement
from hyperalign.records import Record, Sample

from .estimates import estimate

__all__ = ["measured_style"]


def measured_style(records: Sequence[Record]) -> dict[str, Measurement]:
    """Measured style of what a person wrote; what they chose or corrected is somebody else's writing too.

    Args:
        records: one person's; only samples count.
    """
    written = [record.text for record in records if isinstance(record, Sample)]
    return {
        name: Measurement(
            value=round(found.value, 4),
            reference=round(found.usual, 4),
            z=round(found.z, 3),
            spread=round(max(found.spread, 0.0001), 4),
        )
        for name, found in estimate(written).items()
    }
