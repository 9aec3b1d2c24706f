"""``hyperalign audit``: which statements, whose records, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperalign.cli.audit import read_statements
from hyperalign.errors import InputError
from hyperalign.records import Pair, Sample
from hyperalign.store import Store
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.hyperalign.cli.conftest import Run

PAIRS = [
    Pair(user="mira", prompt=f"{at}?", chosen=f"Jam and toast on day {at}.", rejected=f"Oil and engines on day {at}.")
    for at in range(8)
]


@pytest.fixture
def model(scripted_server: ScriptedServer) -> list[str]:
    """A model that finds that sweet things fit jam, and machines oil."""

    def fits(request: Recorded) -> str:
        texts, _, asked = request.messages[-1]["content"].partition("Statements:")
        jam_first = "Jam" in texts and texts.index("Jam") < texts.index("Oil") if "Oil" in texts else "Jam" in texts
        lines = [line for line in asked.splitlines() if line[:1].isdigit()]
        return "\n".join(f"{line[0]}: {'A' if ('sweet' in line) == jam_first else 'B'}" for line in lines)

    scripted_server.default = reply(fits)
    return ["--model", f"vllm:{scripted_server.url}", "--scorer", "none"]


def test_statements_are_tested_on_the_records_of_a_file(run: Run, model: list[str], tmp_path: Path) -> None:
    (tmp_path / "memories.txt").write_text("- Likes sweet things.\n\n2. Likes machines.\n")
    (tmp_path / "records.jsonl").write_text("".join(f"{pair.model_dump_json()}\n" for pair in PAIRS))
    (tmp_path / "others").mkdir()
    others = [
        Pair(user="tom", prompt=f"{at}?", chosen=f"Jam {at}.", rejected=f"Oil {at}.")
        if at % 2
        else Pair(user="tom", prompt=f"{at}?", chosen=f"Oil {at}.", rejected=f"Jam {at}.")
        for at in range(6)
    ]
    (tmp_path / "others" / "tom.jsonl").write_text("".join(f"{pair.model_dump_json()}\n" for pair in others))
    asked = ["audit", "memories.txt", "records.jsonl", "--user", "mira", "--population", "others", *model]
    done = run(*asked)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "holds         Likes sweet things."
    assert "contradicted  Likes machines." in lines
    assert lines[-1] == "1 holds, 1 contradicted, 0 not shown"
    told = json.loads(run(*asked, "--json").out)["findings"]
    assert [each["verdict"] for each in told] == ["holds", "contradicted"]
    assert told[0]["test"]["gain"] > 0.3
    assert "Jam" in told[0]["evidence"][0]["quote"]


def test_answers_that_cannot_be_read_are_said(run: Run, scripted_server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "memories.txt").write_text("Likes sweet things.\nLikes machines.\n")
    scripted_server.default = reply(lambda request: "1: A\n2: I cannot tell.")
    with Store() as store:
        store.add_records(PAIRS)
    model = ["--model", f"vllm:{scripted_server.url}", "--scorer", "none"]
    done = run("audit", "memories.txt", "--user", "mira", *model)
    assert "28 of 56 questions stayed undecided" in done.err


def test_without_files_the_records_of_the_store_are_read(run: Run, model: list[str], tmp_path: Path) -> None:
    (tmp_path / "memories.txt").write_text("Likes sweet things.\nLikes machines.\n")
    run("audit", "memories.txt", "--user", "mira", *model).refused(4, "no records")
    run("audit", "memories.txt", *model).refused(3, "nothing to read")
    with Store() as store:
        store.add_records(PAIRS)
    done = run("audit", "memories.txt", "--user", "mira", *model)
    assert done.code == 0, done.err
    assert "Likes sweet things." in done.out


def test_an_encoder_is_opened_for_choices_alone(run: Run, model: list[str], tmp_path: Path) -> None:
    (tmp_path / "memories.txt").write_text("Likes sweet things.\nLikes machines.\n")
    (tmp_path / "choices.jsonl").write_text("".join(f"{pair.model_dump_json()}\n" for pair in PAIRS))
    (tmp_path / "texts.jsonl").write_text(
        "".join(f"{Sample(user='mira', text=pair.chosen).model_dump_json()}\n" for pair in PAIRS)
    )
    asked = ["--user", "mira", *model, "--encoder", "local:nothing-of-that-name"]
    run("audit", "memories.txt", "choices.jsonl", *asked).refused(5, "nothing-of-that-name")
    done = run("audit", "memories.txt", "texts.jsonl", *asked)
    assert done.code == 0, done.err


def test_statements_are_read_from_lists_and_from_exports(tmp_path: Path) -> None:
    plain, export, empty = (tmp_path / name for name in ("m.txt", "m.json", "e.txt"))
    plain.write_text("* Likes tea.\n3) Lives in Rome.\n1984 is their favorite book.\n")
    assert read_statements(plain) == ["Likes tea.", "Lives in Rome.", "1984 is their favorite book."]
    export.write_text(json.dumps({"results": [{"id": "7", "memory": "Likes tea."}, {"text": "Is kind."}, "Runs."]}))
    assert read_statements(export) == ["Likes tea.", "Is kind.", "Runs."]
    empty.write_text("-  \n\n")
    with pytest.raises(InputError, match="no statement"):
        read_statements(empty)
    export.write_text("{")
    with pytest.raises(InputError, match=r"m\.json"):
        read_statements(export)
