"""Files and folders of invented people for the tests of the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hyperalign.store import Store
from tests.fixtures.scripted_server import Recorded

__all__ = ["TEXTS", "all_a", "asked", "others", "records", "saved", "write"]

TEXTS = [
    "Dear Tom, I am so glad you wrote! Do come on Friday; the marmalade is ready.",
    "Dear Ann, what a storm we had! The marmalade survived, as did I.",
    "Dear Kit, how kind of you! I shall keep the letter by my bed.",
]


def write(folder: Path, *names: str) -> list[Path]:
    """One text of Ada's a file."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for path, text in zip(paths, TEXTS, strict=False):
        path.write_text(text)
    return paths


def others(folder: Path) -> Path:
    """A population of four people with one short text each, three to test on and one to show: few questions."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "bob": "Pump broke. Fixed it. Send parts.",
        "cal": "No. The report is late again. Noted.",
        "eve": "Paid the bill. Closed the account. Done.",
        "dan": "Rain since Monday. The road is closed. Take the train.",
    }
    for name, text in texts.items():
        (folder / f"{name}.jsonl").write_text(json.dumps({"user": name, "text": text}) + "\n")
    return folder


def all_a(request: Recorded) -> str:
    """A model that answers every question with A, however many are put at once."""
    count = re.search(r"Answer with (\d+) lines", request.prompt)
    return "\n".join(f"{number}: A" for number in range(1, int(count[1]) + 1)) if count else "A"


def asked(model: str, folder: Path) -> list[str]:
    """The options of a run with few questions, tested by choice."""
    return ["--model", model, "--scorer", "none", "--population", str(others(folder / "others"))]


def saved(user: str = "ada") -> list[int]:
    """Numbers of the versions that the store has of somebody."""
    with Store() as store:
        return [version.number for version in store.history(user)]


def records(user: str = "ada") -> int:
    """How many of their records it has."""
    with Store() as store:
        return len(store.records(user))
