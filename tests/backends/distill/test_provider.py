"""DSPy's BootstrapFinetune trains a real adapter here, and the program runs on it afterwards."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import dspy
import pytest

import hyperalign as ha
from hyperalign.backends.distill.adapters import open_adapter
from hyperalign.backends.distill.provider import LocalProvider
from hyperalign.errors import InputError
from tests.backends.distill.small_students import HERE, needs_train
from tests.fixtures.scripted_server import ScriptedServer, reply

pytestmark = pytest.mark.filterwarnings("default")


def provider(out: Path, **choices: Any) -> LocalProvider:
    found = ha.backends.provider(out=out, hardware=HERE, max_steps=2, batch_size=2, micro_batch_size=2, **choices)
    assert isinstance(found, LocalProvider)
    return found


def taught(server: ScriptedServer, by: LocalProvider) -> dspy.Predict:
    """A program whose model can be trained: it says the same of everything."""
    server.default = reply("[[ ## answer ## ]]\nMind the rope.\n\n[[ ## completed ## ]]")
    program = dspy.Predict("question -> answer")
    program.set_lm(ha.connect("openai/any", api_base=server.base, api_key="k", max_tokens=12, provider=by))
    return program


@needs_train
def test_bootstrap_finetune_gives_a_program_that_runs_on_the_adapter(
    scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    program = taught(scripted_server, provider(tmp_path, learning_rate=4e-3))
    trainset = [dspy.Example(question=f"What of the {thing}?").with_inputs("question") for thing in ("sea", "rope")]
    with warnings.catch_warnings(), dspy.context(adapter=dspy.ChatAdapter()):
        warnings.simplefilter("ignore")
        tuned = dspy.BootstrapFinetune(num_threads=1).compile(program, trainset=trainset)
    (predictor,) = tuned.predictors()
    name = predictor.lm.target.name
    assert name.startswith("adapter:")
    adapter = open_adapter(Path(name.removeprefix("adapter:")))
    assert adapter.card.traces == 2
    assert predictor.lm.model == f"openai/{adapter.served_name}"
    asked = len(scripted_server.requests)
    (said,) = predictor.lm("What of the sea?")
    assert isinstance(said, str)
    assert len(scripted_server.requests) == asked, "the adapter answers, and not the server that taught it"


@needs_train
def test_better_together_trains_on_the_prompts_it_has_just_found(
    scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    program = taught(scripted_server, provider(tmp_path, learning_rate=4e-3))
    things = ("sea", "rope", "mast")
    trainset = [dspy.Example(question=f"What of the {thing}?").with_inputs("question") for thing in things]

    def about_rope(example: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> bool:
        return "rope" in prediction.answer

    both = dspy.BetterTogether(
        about_rope,
        prompts=dspy.BootstrapFewShot(about_rope, max_bootstrapped_demos=1, max_labeled_demos=0),
        weights=dspy.BootstrapFinetune(about_rope, num_threads=1),
    )
    with warnings.catch_warnings(), dspy.context(adapter=dspy.ChatAdapter()):
        warnings.simplefilter("ignore")
        tuned = both.compile(program, trainset=trainset, valset_ratio=0, strategy="prompts -> weights")
    assert not tuned.flag_compilation_error_occurred
    (predictor,) = tuned.predictors()
    adapter = open_adapter(Path(predictor.lm.target.name.removeprefix("adapter:")))
    assert adapter.card.traces == len(things)
    assert predictor.demos
    for line in (adapter.path / "training" / "rows.jsonl").read_text().splitlines():
        roles = [turn["role"] for turn in json.loads(line)["prompt"]]
        assert "assistant" in roles, "what it learned from holds the demo that the first step found"


@needs_train
def test_the_same_rows_are_trained_on_once(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Ahoy there, sailor."}]}
    train = provider(tmp_path)
    first = train.finetune(None, "any", [row], "chat", {"learning_rate": 1e-3})  # type: ignore[arg-type]
    written = open_adapter(Path(first.removeprefix("adapter:"))).card.created
    again = train.finetune(None, "any", [row], "chat", {"learning_rate": 1e-3})  # type: ignore[arg-type]
    assert again == first
    assert open_adapter(Path(again.removeprefix("adapter:"))).card.created == written


@pytest.mark.parametrize("turns", [[], [{"role": "user", "content": "x"}], "x", None])
def test_rows_that_are_no_conversations_are_named(tmp_path: Path, turns: Any) -> None:
    with pytest.raises(InputError, match="Row 1 is not a conversation"):
        LocalProvider("local:smollm2-135m-instruct", out=tmp_path).finetune(
            None,  # type: ignore[arg-type]
            "any",
            [{"messages": turns}],
            "chat",
        )


def test_a_student_that_could_not_be_run_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a local: model(.|\n)*distill --student"):
        ha.backends.provider(str(tmp_path))
