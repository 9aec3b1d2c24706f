"""Invented people in one file, and a model that answers for all of them."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

from hyperalign.store import Store
from tests.fixtures.scripted_server import Recorded

__all__ = ["arguments", "profiles", "said", "texts", "versions", "write"]

OPENINGS = ("Dear Tom,", "Hi Sue!", "Hello there.", "To whom it may concern,", "Hey Kit -")
MIDDLES = (
    "the marmalade is ready",
    "we walked along the river for hours",
    "the report is late again",
    "my sister sends her love",
    "I fixed the pump at last",
    "the storm took the roof off",
    "nobody answered the door",
    "the garden wants rain",
)
ENDINGS = ("Do come on Friday!", "Send parts.", "How kind of you!", "Regards.", "Such is life, I suppose.")


def texts(person: int, count: int) -> list[str]:
    """Letters of an invented person."""
    draw = random.Random(person)

    def sentence() -> str:
        return f"{draw.choice(MIDDLES)}, and {draw.choice(MIDDLES)} {draw.randrange(1000)} times"

    return [
        f"{draw.choice(OPENINGS)} {sentence()}. {draw.choice(ENDINGS)} {draw.choice(MIDDLES).capitalize()} {number}."
        for number in range(count)
    ]


def said(request: Recorded) -> str:
    """An answer that depends on the question alone, in the form that it asks for."""
    digest = hashlib.sha256(request.prompt.encode()).digest()
    if (lines := re.search(r"Answer with (\d+) lines", request.prompt)) is not None:
        return "\n".join(f"{number}: {'AB'[digest[number % 32] % 2]}" for number in range(1, int(lines[1]) + 1))
    if "JSON object" not in request.prompt:
        return "AB"[digest[0] % 2]
    # Of its own for each question, so that no two people share a call.
    poles = [f"The writer tells of {what} things, as in {digest.hex()[:8]}." for what in ("small", "large")]
    quote = next((each for each in MIDDLES if each in request.prompt.rpartition("writer")[2]), MIDDLES[0])
    return json.dumps({"hypothesis": {"quote": quote, "statement": poles[0], "opposite": poles[1]}})


def write(folder: Path, count: int, *, each: int = 4) -> Path:
    """A JSONL file of people who take turns, as in a log."""
    path = folder / "people.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    written = {f"p{person:03}": texts(person, each) for person in range(count)}
    lines = [{"user": user, "text": theirs[turn]} for turn in range(each) for user, theirs in written.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def arguments(path: Path, url: str) -> list[str]:
    """The fit of everybody, with statements tested by choice."""
    model = ["--model", f"vllm:{url}", "--scorer", "none", "--encoder", "none"]
    return ["fit", str(path), "--all-users", *model]


def versions(place: Path | None = None) -> dict[str, int]:
    """How many versions of each person's profile the store has."""
    with Store(place) as store:
        return {person.user: person.versions for person in store.users()}


def profiles(place: Path | None = None) -> dict[str, dict[str, Any]]:
    """Everybody's newest profile, without the time at which it was made."""
    with Store(place) as store:
        found = {person.user: json.loads(store.load(person.user).to_json()) for person in store.users()}
    for profile in found.values():
        del profile["provenance"]["created"]
    return found
