"""Training rows as a chat template renders them: after the prompt that is sent later, and with an end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from jinja2 import Environment

from hyperalign.backends.distill.student import end_answers
from hyperalign.backends.distill.traces import Trace, TraceFilter, cut_thoughts
from hyperalign.errors import ModelError

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = CHATML.replace(
    "\n{{ m.content }}", "\n{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}"
)
THINKING_AS_ASKED = THINKING[: -len("{% endif %}")] + "<think>\n\n</think>\n\n{% endif %}"
ENDLESS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TURNING = CHATML.replace("assistant\n{% endif %}", "assistant (final)\n{% endif %}")
UPPER = CHATML.replace("{{ m.content }}", "{{ m.content | upper }}")


@dataclass
class Tokenizer:
    """A chat template, rendered as transformers renders it."""

    template: str
    eos_token: str | None = "<|im_end|>"

    def apply_chat_template(
        self, messages: Sequence[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize
        environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
        return environment.from_string(self.template).render(
            messages=messages, add_generation_prompt=add_generation_prompt
        )


def row(answer: str = "Fine, thank you.") -> dict[str, Any]:
    return {
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How was it?"}],
        "completion": [{"role": "assistant", "content": answer}],
    }


@pytest.mark.parametrize("template", [CHATML, THINKING_AS_ASKED])
def test_rows_that_are_as_they_are_asked_stay(template: str) -> None:
    assert end_answers([row()], Tokenizer(template), "s") == [row()]


def test_an_answer_without_an_end_gets_one() -> None:
    assert end_answers([row()], Tokenizer(ENDLESS, "</s>"), "s") == [row("Fine, thank you.</s>")]
    both = {"prompt": row()["prompt"], "chosen": row()["completion"], "rejected": row("No.")["completion"]}
    (made,) = end_answers([both], Tokenizer(ENDLESS, "</s>"), "s")
    assert made["rejected"] == [{"role": "assistant", "content": "No.</s>"}]


def test_rows_without_answers_are_left_alone() -> None:
    rows = [{"prompt": row()["prompt"], "privileged_context": "They are brief."}]
    assert end_answers(rows, Tokenizer(ENDLESS), "s") == rows


@pytest.mark.parametrize(
    ("template", "eos", "said"),
    [
        (THINKING, "<|im_end|>", "puts '<think>.*</think>.*' before an answer"),
        (TURNING, "<|im_end|>", "where the prompt for an answer has ' \\(final\\)"),
        (UPPER, "<|im_end|>", "it changes the answer"),
        (ENDLESS, None, "ends no turn"),
    ],
)
def test_a_template_that_teaches_something_else_is_refused(template: str, eos: str | None, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        end_answers([row()], Tokenizer(template, eos), "tiny")
    assert "The chat template of tiny" in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("The profile says they write short… </think> Hello.", "Hello."),
        ("One.\n</think>\nTwo.\n</think>\n\nThree.", "Three."),
        ("Hm. [/THINK]Yes.", "Yes."),
        ("Write <think> first, then </think>.", "Write <think> first, then </think>."),
        ("Plain.", "Plain."),
        ("Only thoughts </think>", ""),
    ],
)
def test_thoughts_whose_opening_tag_is_missing_are_cut(said: str, kept: str) -> None:
    assert cut_thoughts(said) == kept


def test_traces_of_earlier_runs_are_cut_before_they_teach() -> None:
    fields = {"user": "ada", "teacher": "t", "strategy": "verified", "profile": "p"}
    good = Trace(id="1", prompt="Rain?", answer="They are brief. </think> It rains a lot here.", **fields)
    bad = Trace(id="2", prompt="Snow?", answer="They are brief, so I say little. </think>", **fields)
    found = TraceFilter()([good, bad])
    assert [trace.answer for trace in found.traces] == ["It rains a lot here."]
    assert found.dropped == {"shorter than 3 words": 1}
