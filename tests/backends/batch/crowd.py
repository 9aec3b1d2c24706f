"""Invented people in one file, and a model that answers for all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benches.many_people import said, texts
from hyperalign.store import Store

__all__ = ["arguments", "profiles", "said", "versions", "write"]


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
