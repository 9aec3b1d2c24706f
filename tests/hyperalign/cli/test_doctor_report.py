from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hyperalign.backends.models.catalogue import find
from hyperalign.cli.doctor import Check, doctor, next_command, report
from hyperalign.cli.models import app as models_app
from hyperalign.files import cache_folder
from tests.fixtures.scripted_server import ScriptedServer

MODEL = "smollm2-135m-instruct"


@pytest.fixture
def cli() -> typer.Typer:
    app = typer.Typer()
    app.add_typer(models_app, name="models")
    app.command("doctor")(doctor)
    return app


def by_name() -> dict[str, Check]:
    return {check.what: check for check in report()}


def test_a_key_is_there_or_not_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    checks = by_name()
    assert checks["OPENAI_API_KEY"].state == "ok"
    assert checks["ANTHROPIC_API_KEY"].state == "missing"
    assert "secret" not in repr(checks)


def test_a_model_is_verified(smollm_path: Path) -> None:
    assert by_name()[f"model {MODEL}"].state == "ok"
    find(MODEL).path.unlink()
    assert by_name()[f"model {MODEL}"] == Check(
        f"model {MODEL}", "missing", "98 MB to fetch", f"hyperalign models pull {MODEL}"
    )
    find(MODEL).path.write_bytes(b"damaged")
    checks = report()
    assert {check.what: check.state for check in checks}[f"model {MODEL}"] == "broken"
    assert next_command(checks) == f"hyperalign models pull {MODEL}"


def test_folders_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("HYPERALIGN_DATA", str(blocked))
    assert by_name()["data folder"].state == "broken"


def test_vllm(scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "vLLM" not in by_name()
    monkeypatch.setenv("HYPERALIGN_VLLM", scripted_server.url)
    assert by_name()["vLLM"].detail == "serves scripted"
    monkeypatch.setenv("HYPERALIGN_VLLM", "http://127.0.0.1:1")
    assert by_name()["vLLM"].state == "broken"


@pytest.mark.parametrize(
    ("marker", "next_"), [("'3'", "pip install 'hyperalign[local]'"), ("'4'", "")], ids=["wheel", "no wheel"]
)
def test_log_probabilities_are_promised_only_where_the_extra_brings_them(
    marker: str, next_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name))
    asked = f"openvino>=2026.4; python_version > {marker} and extra == 'local'"
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["xllamacpp>=2026.10; extra == 'local'", asked])
    check = by_name()["log-probabilities"]
    assert (check.state, check.next) == ("missing", next_)
    assert ("no wheel" in check.detail) == (not next_)


def test_next_command() -> None:
    local = Check("extra 'local'", "missing", "", "pip install …")
    installed = Check("extra 'local'", "ok", "")
    model = Check("model a", "missing", "", "pull")
    assert next_command([local, model]) == "pip install …"
    assert next_command([installed, model]).startswith("hyperalign models pull")
    assert next_command([installed, Check("model a", "ok", "")]) == "hyperalign demo"


def test_doctor_command(cli: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(cli, ["doctor"])
    assert done.exit_code == 0, done.output
    assert done.output.strip().splitlines()[-1].startswith("Next: hyperalign ")
    answer = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).output)
    assert {check["state"] for check in answer["checks"]} <= {"ok", "missing"}
    monkeypatch.setenv("HYPERALIGN_VLLM", "http://127.0.0.1:1")
    assert CliRunner().invoke(cli, ["doctor"]).exit_code == 1


def test_models_commands(cli: typer.Typer, smollm_path: Path) -> None:
    run = CliRunner().invoke
    rows = json.loads(run(cli, ["models", "list", "--json"]).output)
    assert {row["name"]: row["here"] for row in rows}[MODEL] is True
    assert MODEL in run(cli, ["models", "list"]).output
    assert run(cli, ["models", "path", MODEL]).output.strip() == str(find(MODEL).path)
    assert json.loads(run(cli, ["models", "pull", MODEL, "--json"]).output)["source"] == "disk"
    graph = cache_folder() / "graphs" / f"{find(MODEL).sha256[:16]}-1-1" / "graph.bin"
    graph.parent.mkdir(parents=True)
    graph.write_bytes(bytes(2_000_000))
    assert "100 MB freed" in run(cli, ["models", "rm", MODEL]).output
    assert not graph.exists()
    assert smollm_path.exists(), "only the link of this test is gone"
    gone = run(cli, ["models", "path", MODEL])
    assert "not here" in str(gone.exception)
