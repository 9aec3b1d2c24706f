"""After ``rm`` and ``forget`` no file of the data and cache folders holds a person's id, words, or a hash of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperalign.backends.models.encoders import CachedEncoder
from hyperalign.backends.models.number_cache import EMBEDDINGS_FILE
from hyperalign.edits import Traces, clean_runs
from hyperalign.files import cache_folder, data_folder, lock_folder
from hyperalign.records import Record, Sample
from hyperalign.runs import RunFolder
from hyperalign.store import Store
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply

from .conftest import Run
from .letters import TEXTS, all_a, write

PEOPLE = 50
LETTERS = "bcdfghklmn"


def word(person: int, text: int) -> str:
    """A word that no other text has."""
    return "".join(LETTERS[int(digit)] + "ou" for digit in f"{person:02}{text}")


def planted(person: int) -> list[Record]:
    name = f"planted-{word(person, 9)}"
    text = "The {} came by, and we all had tea with it until the evening of day {}."
    return [Sample(user=name, prompt=f"Tell of day {n}.", text=text.format(word(person, n), n)) for n in range(4)]


def traces(records: Sequence[Record]) -> Iterator[bytes]:
    """The id, the words, and hashes of ids, texts and contents as they are commonly written."""
    user = records[0].user
    hashed = [user]
    yield user.encode()
    for record in records:
        assert isinstance(record, Sample)
        yield from (re.findall(r"\w+ou\b", record.text)[0].encode(), record.id.encode())
        hashed += [
            record.text,
            json.dumps(["", record.text]),
            record.id,
            record.model_dump_json(exclude={"id", "user"}),
        ]
    for text in hashed:
        digest = hashlib.sha256(text.encode()).digest()
        yield from (digest, digest.hex()[:8].encode())


def found(records: Sequence[Record]) -> list[str]:
    needles = set(traces(records))
    files = [path for root in (data_folder(), cache_folder()) for path in root.rglob("*") if path.is_file()]
    contents = {path: path.read_bytes() for path in files if not path.is_symlink() and path.suffix != ".gguf"}
    return [f"{path.name}: {needle!r}" for path, content in contents.items() for needle in needles if needle in content]


class Counting:
    """An encoder of one's own: counts letters."""

    name = "counting-1"

    def encode(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        return np.array([[len(text), text.count("e")] for _, text in items], np.float32)


def repeats(request: Recorded) -> str:
    """A model that quotes what it is shown of other people, and answers other questions with A."""
    shown = re.findall(r"The \w+ou came by", json.dumps(request.body["messages"]))
    if "Statement" in request.prompt or not shown:
        return all_a(request)
    return json.dumps({"hypothesis": {"quote": shown[0], "statement": f"Unlike {shown[-1]}.", "opposite": "No."}})


def test_nothing_is_left_of_fifty_people_in_the_fits_and_evals_of_each_other(
    run: Run, scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    everybody = [planted(person) for person in range(PEOPLE)]
    task = tmp_path / "people.jsonl"
    task.write_text("".join(f"{record.model_dump_json()}\n" for records in everybody[:8] for record in records))
    with Store() as store:
        store.add_records(record for records in everybody for record in records)
    scripted_server.default = reply(repeats)
    model = ("--model", f"vllm:{scripted_server.url}", "--scorer", "none")
    for person in everybody[:2]:
        assert run("fit", "--user", person[0].user, *model).code == 0
    letters = write(tmp_path / "letters", "1.txt", "2.txt", "3.txt")
    assert run("fit", *letters, "--user", "ada", *model).code == 0
    done = run("eval", task, *model, "--strategy", "few-shot", "--seed", "1")
    assert done.code == 0, done.err
    encoder = CachedEncoder(Counting(), cache_folder() / EMBEDDINGS_FILE)
    encoder.encode([("", text) for records in everybody for text in [records[0].text]])
    encoder.close()
    # Something to find before; and hashes in the caches can't be tried.
    assert all(found(records) for records in everybody)
    assert not any(line.startswith("embeddings") for records in everybody for line in found(records))
    said = []
    for number, records in enumerate(everybody[1:]):
        done = run("profile", "rm", records[0].user, "--yes", "--json")
        assert done.code == 0, done.err
        said.append(json.loads(done.out))
        assert number % 8 or found(records) == []
    assert [each["records"] for each in said] == [4] * (PEOPLE - 1)
    assert sum(each["lines"] + each["files"] for each in said) > 0
    assert all(each["cached"] == 1 for each in said)
    assert [found(records) for records in everybody[1:]] == [[]] * (PEOPLE - 1), "and none of it comes back"
    with Store() as store:
        assert {person.user for person in store.users()} == {"ada", everybody[0][0].user}
        assert len(store.records("ada")) == len(TEXTS)
        assert store.memory("ada") is not None, "what is known of others stays"
    # One record of the last one.
    last = everybody[0]
    assert run("profile", "forget", last[0].user, last[2].id, "--yes").code == 0
    gone = [needle for needle in traces([last[2]]) if needle not in set(traces([last[0]]))]
    left = [path for root in (data_folder(), cache_folder()) for path in root.rglob("*") if path.is_file()]
    assert [path.name for path in left if any(needle in path.read_bytes() for needle in gone)] == []


def test_the_runs_of_others_keep_what_is_not_the_person_s(tmp_path: Path) -> None:
    own = Sample(user="zora", text="We walked along the river bank until the sun went down behind the mill.")
    other = Sample(user="ada", text="Behind the garden stood a mill, and a river.")
    folder = RunFolder("fit", "ada", {"records": ["r"]}).path
    lines = [
        {"key": "1", "value": "They write like zora."},
        {"key": "2", "value": "Quote: walked along the river bank until"},
        {"key": "3", "value": "The river and the mill."},
        {"key": "4", "value": {"text": "sun went down"}},
        {"key": "5", "value": "zora-like, Zoranian"},
        {"key": "6", "value": "W\u00e8 walked"},
    ]
    (folder / "calls.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (folder / "profile.json").write_text("{}")
    (folder / "report.md").write_text(f"As {own.id} says")
    torn = tmp_path / "hyperalign" / "data" / "runs" / "torn"
    torn.mkdir()
    (torn / "run.json").write_text('{"user": "zor')
    (torn / "calls.jsonl").write_text('{"key": "1", "value": "of zora"}\n{"key": "2", "val')
    cleaned = clean_runs(Traces("zora", [own], [other]))
    kept = [json.loads(line)["key"] for line in (folder / "calls.jsonl").read_text().splitlines()]
    assert kept == ["3", "4"]
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == [
        "calls.jsonl",
        "profile.json",
        "run.json",
    ]
    assert (torn / "calls.jsonl").read_text() == '{"key": "2", "val'
    assert (cleaned.lines, cleaned.files, len(cleaned.folders), cleaned.busy) == (5, 1, 2, ())
    assert clean_runs(Traces("zora", [own], [other])).folders == ()


def test_a_run_that_is_at_work_is_named_and_left() -> None:
    folder = RunFolder("fit", "ada", {"records": ["r"]}).path
    (folder / "calls.jsonl").write_text('{"key": "1", "value": "of zora"}\n')
    with lock_folder(folder):
        assert clean_runs(Traces("zora", [])).busy == (str(folder),)
    assert clean_runs(Traces("zora", [])).lines == 1
