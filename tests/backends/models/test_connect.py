from __future__ import annotations

from pathlib import Path

import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.servers import served_models
from hyperalign.errors import MissingKeyError, ModelServerError, UnknownModelError
from tests.fixtures.scripted_server import ScriptedServer


def test_local_name_carries_the_weights_and_starts_nothing(isolated_folders: Path) -> None:
    lm = connect("local:qwen2.5-coder-1.5b-instruct")
    assert lm.model == "openai/qwen2.5-coder-1.5b-instruct-cc324af0"
    assert lm.target.name == "local:qwen2.5-coder-1.5b-instruct"
    assert not (isolated_folders / "cache" / "servers").exists()


def test_vllm_by_address_takes_the_first_model(scripted_server: ScriptedServer) -> None:
    scripted_server.models = ["base", "adapter"]
    lm = connect(f"vllm:{scripted_server.url}")
    assert lm.model == "hosted_vllm/base"
    assert lm("Hi") == ["ok"]
    assert scripted_server.requests[0].body["model"] == "base"
    assert connect(f"vllm:{scripted_server.base}#adapter").model == "hosted_vllm/adapter"


def test_vllm_by_model_name(scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERALIGN_VLLM", scripted_server.url)
    assert connect("vllm:org/model")("Hi") == ["ok"]
    assert scripted_server.requests[0].body["model"] == "org/model"


def test_vllm_that_is_not_there() -> None:
    with pytest.raises(ModelServerError, match=r"at http://127\.0\.0\.1:1 ") as caught:
        connect("vllm:http://user:secret@127.0.0.1:1")
    assert "vllm serve" in caught.value.remedy
    assert "secret" not in str(caught.value)


def test_served_models_of_something_else(scripted_server: ScriptedServer) -> None:
    with pytest.raises(ModelServerError):
        served_models(f"{scripted_server.url}/not-a-model-server/v2")


@pytest.mark.parametrize("name", ["local:nothing-like-it", "", "openai/"])
def test_unknown_at_once(name: str) -> None:
    with pytest.raises(UnknownModelError):
        connect(name)


def test_unknown_provider_at_the_first_call() -> None:
    with pytest.raises(UnknownModelError, match="no known model provider"):
        connect("nonsense/model")("Hi")


def test_no_key_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(MissingKeyError, match="ANTHROPIC_API_KEY is not set"):
        connect("anthropic/claude-any")("Hi")
