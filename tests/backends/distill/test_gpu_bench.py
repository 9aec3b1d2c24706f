"""The bench for GPUs: its models are of the published sizes, and it says what it could not run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benches.gpu import ROOT, SHAPES, SMALL, Report, make_model, make_rows, make_tokenizer
from tests.backends.distill.small_students import needs_train

pytestmark = pytest.mark.filterwarnings("default")


@needs_train
def test_shapes_have_the_published_numbers_of_parameters() -> None:
    tokenizer = make_tokenizer()
    sizes = {shape.name: make_model(shape, "meta", tokenizer).num_parameters() / 1e9 for shape in SHAPES}
    assert sizes == pytest.approx(
        {"Qwen2.5 0.5B": 0.494, "Llama 3.2 1B": 1.236, "Qwen2.5 1.5B": 1.544, "Qwen2.5 7B": 7.616, "Llama 3 8B": 8.030},
        abs=0.001,
    )
    assert make_model(SHAPES[-1].as_toy(), "cpu", tokenizer).num_parameters() < 1_000_000


@needs_train
def test_rows_are_rendered_as_they_are_asked_for() -> None:
    from hyperalign.backends.distill.student import end_answers

    tokenizer = make_tokenizer()
    rows = make_rows(8, longest=6)
    assert end_answers(rows, tokenizer, SMALL.name) == rows
    text = tokenizer.apply_chat_template([*rows[0]["prompt"], *rows[0]["completion"]], tokenize=False)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer) <= SMALL.size["vocab_size"]


def test_what_was_not_run_is_reported_with_its_reason() -> None:
    report = Report(minutes=1)
    report.rows.append("| a | b |")
    assert report.run("first", lambda: 7, "json") == 7
    report.notes.append("It ran.")

    def fail() -> None:
        raise RuntimeError("out of\nmemory.")

    assert report.run("second", fail, "json", "no_such_module") is None
    assert report.run("third", fail) is None
    said = str(report)
    assert "| a | b |\n\n- It ran.\n" in said
    assert "- Not run: second: not installed here: no_such_module." in said
    assert "- Not run: third: out of memory." in said
    late = Report(minutes=0)
    late.run("fourth", fail)
    assert late.left_out == ["fourth: the time was used up"]
    assert "Everything was run" in str(Report(minutes=1))


def test_without_libraries_it_names_them_and_installs_nothing() -> None:
    command = [sys.executable, "-I", "-S", str(ROOT / "benches" / "gpu.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "lacks torch, transformers, peft, trl" in done.stderr
    assert "installs nothing" in done.stderr
    assert not done.stdout
