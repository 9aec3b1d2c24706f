"""Whether reading, measuring and redacting take time in proportion to a text's length, on ten hostile patterns.

Prints for each the exponent of the processor's seconds in the megabytes, by least squares of their logarithms over the
last four of five doublings: 1 is linear, 2 quadratic. ``python -m benches.linear --most 20`` goes up to 20 MB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hyperalign.ingest import read_records
from hyperalign.privacy import find_redactor
from hyperalign.style import measure

PATTERNS = {
    "underscores": "_",
    "brackets": "[",
    "colons": "std::",
    "at signs": "a@",
    "dots": "a.",
    "digits": "0123456789 ",
    "quotes": "\"'",
    "one line of words": "word ",
    "line breaks": "\n",
    "greetings": "Dear you,\n\n",
}
_DOUBLINGS = 5


def seconds(work: Callable[[str], object], text: str) -> float:
    """Processor time of a piece of work on a text: other programs on the machine make it no longer."""
    began = time.process_time()
    work(text)
    return time.process_time() - began


def read(text: str) -> object:
    """Read a text as a record in a file of lines."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.jsonl"
        path.write_text(json.dumps({"user": "ada", "text": f"A text. {text}"}), encoding="utf-8")
        return read_records([path])


def exponent(work: Callable[[str], object], unit: str, most: float) -> tuple[float, float]:
    """The exponent of the seconds in the size, and the seconds of the largest text of ``most`` megabytes."""
    sizes = [most / 2**step for step in reversed(range(_DOUBLINGS))]
    taken = [seconds(work, (unit * (int(size * 1e6) // len(unit) + 1))[: int(size * 1e6)]) for size in sizes]
    slope, _ = np.polyfit(np.log(sizes[1:]), np.log(taken[1:]), 1)
    return float(slope), taken[-1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=float, default=2.0, help="megabytes of the largest text")
    most = parser.parse_args().most
    redactor = find_redactor(None)
    works: dict[str, Callable[[str], object]] = {"read": read, "measure": measure}
    if redactor is not None:
        works["redact"] = redactor
    else:
        sys.stderr.write("Redaction is not installed: pip install 'hyperalign[privacy]'\n")
    sys.stdout.write(f"| pattern | {' | '.join(f'{name}: exponent, seconds of {most:g} MB' for name in works)} |\n")
    sys.stdout.write(f"|---|{'---|' * len(works)}\n")
    for name, unit in PATTERNS.items():
        found = [exponent(work, unit, most) for work in works.values()]
        cells = " | ".join(f"{slope:.2f}, {last:.1f}" for slope, last in found)
        sys.stdout.write(f"| {name} | {cells} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
