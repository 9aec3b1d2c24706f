"""What a checkpoint in memory says: answers to conversations, and which of two answers it finds likelier.

For judging adapters where they were trained; serving them to others is a server's work.

Does an adapter change anything? Log-probabilities of a fixed text, with it and without it.

An adapter whose keys fit no layer loads without a word in most engines and gives the base model's answers: this is how
that is found out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import fmean
from typing import Any

from hyperalign.concurrency import Progress
from hyperalign.errors import TrainingError
from hyperalign.scores import Message

from .student import Student, load_student, torn

__all__ = [
    "PROBE",
    "Probed",
    "answers",
    "likelier",
    "probe",
    "probe_scores",
    "prompt_tokens",
    "tell_apart",
    "token_scores",
    "with_adapter",
]

_AT_ONCE = 8


def answers(
    model: Any,
    tokenizer: Any,
    asked: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    progress: Progress | None = None,
    step: str = "answers",
) -> list[str]:
    """The model's greedy answers, in the order asked.

    Args:
        model: of transformers, with or without an adapter.
        tokenizer: its own, with a chat template.
        asked: conversations.
        max_new_tokens: tokens of an answer.
        progress: told after each batch.
        step: what progress calls it.
    """
    torch = import_module("torch")
    model.eval()
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    written: list[str] = []
    # Of like length together, so that little is padding.
    order = sorted(range(len(asked)), key=lambda i: sum(len(turn["content"]) for turn in asked[i]))
    texts = [_rendered(tokenizer, asked[i]) for i in order]
    for start in range(0, len(texts), _AT_ONCE):
        batch = tokenizer(
            texts[start : start + _AT_ONCE], return_tensors="pt", padding=True, add_special_tokens=False
        ).to(model.device)
        with torch.inference_mode():
            found = model.generate(
                **batch,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                # A checkpoint's own settings may punish repetition: other engines do not know them.
                repetition_penalty=1.0,
                no_repeat_ngram_size=0,
                pad_token_id=tokenizer.pad_token_id,
            )
        written += tokenizer.batch_decode(found[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        if progress is not None:
            progress(step, len(written), len(texts))
    by_place = dict(zip(order, written, strict=True))
    return [by_place[i].strip() for i in range(len(asked))]


def likelier(model: Any, tokenizer: Any, prompt: str, first: str, second: str, *, system: str = "") -> bool:
    """Whether the model finds the first of two answers likelier, by mean log-probability per token."""
    means = [fmean(token_scores(model, tokenizer, prompt, answer, system=system)) for answer in (first, second)]
    return means[0] > means[1]


def token_scores(model: Any, tokenizer: Any, prompt: str, answer: str, *, system: str = "") -> list[float]:
    """Log-probability of each token of an answer to a prompt, in nats; after a system turn, where it has words."""
    torch = import_module("torch")
    model.eval()
    asked: list[Message] = [{"role": "user", "content": prompt}]
    turns: list[Message] = [{"role": "system", "content": system}, *asked] if system else asked
    before = _ids(tokenizer, _rendered(tokenizer, turns))
    after = _ids(tokenizer, answer)
    ids = torch.tensor([[*before, *after]], device=model.device)
    with torch.inference_mode():
        scores = torch.log_softmax(model(input_ids=ids).logits[0, len(before) - 1 : -1].float(), dim=-1)
    return [float(score) for score in scores.gather(-1, ids[0, len(before) :, None]).squeeze(-1)]


def prompt_tokens(tokenizer: Any, asked: Sequence[Sequence[Message]]) -> float:
    """Mean number of tokens that a model reads before it answers, templates included."""
    return fmean(len(_ids(tokenizer, _rendered(tokenizer, turns))) for turns in asked)


def _rendered(tokenizer: Any, turns: Sequence[Message]) -> str:
    return str(tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=True))


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


PROBE = (
    ("How was your day?", "It was long, and I would rather talk about something else."),
    ("What should I read next?", "Something short, with a good first page."),
)
"""What is asked and answered; fixed, so that engines can be compared."""

_LEAST = 1e-4  # nats a token: less is rounding


@dataclass(frozen=True)
class Probed:
    """What the probe saw.

    Attributes:
        base: mean log-probability of the probe's answers without the adapter, in nats per token.
        adapter: the same with it.
        difference: the mean absolute difference by token, in nats.
    """

    base: float
    adapter: float
    difference: float

    @property
    def changed(self) -> bool:
        """Whether the adapter does anything."""
        return self.difference > _LEAST


def probe(student: Student, weights: Path) -> Probed:
    """Score the probe's answers with an adapter and without it.

    Args:
        student: the base that the adapter belongs to.
        weights: the adapter's folder.

    Raises:
        TrainingError: the adapter does not load, or has keys that fit no layer of the base.
        MissingExtraError: the 'train' extra is not installed.
        ModelError: the base does not load.
    """
    model, tokenizer = load_student(student)
    base = probe_scores(model, tokenizer)
    return tell_apart(base, probe_scores(with_adapter(model, weights), tokenizer))


def tell_apart(base: Sequence[float], tuned: Sequence[float]) -> Probed:
    """What two scorings of the probe say: without the adapter, and with it."""
    apart = [abs(a - b) for a, b in zip(base, tuned, strict=True)]
    return Probed(sum(base) / len(base), sum(tuned) / len(tuned), sum(apart) / len(apart))


def with_adapter(model: Any, weights: Path, name: str = "default") -> Any:
    """The model with an adapter on it, or with one more.

    Args:
        model: of transformers, or one that has adapters already.
        weights: the adapter's folder.
        name: by which adapters on one model are told apart.

    Raises:
        TrainingError: it does not load, or its keys fit no layer of the model.
    """
    peft = import_module("peft")
    # Else PEFT sends it by way of a card, where there is one.
    device = str(model.device)
    try:
        with warnings.catch_warnings():
            # PEFT only warns of keys that fit nothing, and goes on with the base model.
            warnings.filterwarnings("error", message=".*(missing|unexpected).*adapter keys.*")
            if isinstance(model, peft.PeftModel):
                model.load_adapter(str(weights), adapter_name=name, torch_device=device)
                return model.eval()
            return peft.PeftModel.from_pretrained(model, str(weights), adapter_name=name, torch_device=device).eval()
    except (OSError, ValueError, RuntimeError, KeyError, UserWarning, torn()) as error:
        raise TrainingError(
            f"The adapter in {weights} does not fit its base: {str(error).splitlines()[0]}.",
            remedy="Train it again, or give the base that it was trained on.",
        ) from error


def probe_scores(model: Any, tokenizer: Any) -> list[float]:
    """Log-probability of each token of the probe's answers, in nats."""
    return [score for prompt, answer in PROBE for score in token_scores(model, tokenizer, prompt, answer)]
