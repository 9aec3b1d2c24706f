"""Answers and log-probabilities of a loaded checkpoint, with an adapter or merged with it, and the probe that shows
whether an adapter changes them.

An adapter whose keys match no layer loads silently in most engines and answers as the base model does.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import fmean
from typing import Any

from hyperalign.concurrency import Progress
from hyperalign.errors import TrainingError
from hyperalign.scores import Message

from .student import Student, load_student, replace_folder, require_empty, safetensors_error

__all__ = [
    "GREEDY",
    "PROBE",
    "SAMPLED",
    "ProbeResult",
    "attach_adapter",
    "compare_logprobs",
    "generate_answers",
    "mean_prompt_tokens",
    "merge_adapter",
    "prefers_first",
    "probe_logprobs",
    "token_logprobs",
]

GREEDY: dict[str, Any] = {
    "do_sample": False,
    "temperature": None,
    "top_p": None,
    "top_k": None,
    # Checkpoints may set repetition penalties, which other engines ignore.
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
}
"""Arguments of transformers' ``generate`` for greedy decoding, whatever a checkpoint's generation config says."""

SAMPLED: dict[str, Any] = {**GREEDY, "do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
"""Arguments for samples of the model's own distribution, which no setting of the checkpoint narrows."""

PROBE = (
    ("How was your day?", "It was long, and I would rather talk about something else."),
    ("What should I read next?", "Something short, with a good first page."),
)
"""Prompts and answers that the probe scores; fixed, so that engines can be compared."""

_BATCH_SIZE = 8
_MIN_DIFFERENCE = 1e-4  # nats per token; less is rounding


def generate_answers(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    decoding: Mapping[str, Any] = GREEDY,
    progress: Progress | None = None,
    step: str = "answers",
) -> list[str]:
    """Generate one answer to each conversation.

    Args:
        model: of transformers, with or without an adapter.
        tokenizer: of the model, with a chat template.
        conversations: messages that end in a user turn.
        max_new_tokens: tokens per answer, at most.
        decoding: ``GREEDY``, or ``SAMPLED`` with torch's random state.
        progress: called after each batch.
        step: the step's name for ``progress``.

    Returns:
        The answers, in the order of the conversations.
    """
    torch = import_module("torch")
    model.eval()
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    answers: list[str] = []
    # Batches of similar length need little padding.
    order = sorted(range(len(conversations)), key=lambda i: sum(len(turn["content"]) for turn in conversations[i]))
    texts = [_render(tokenizer, conversations[i]) for i in order]
    for start in range(0, len(texts), _BATCH_SIZE):
        batch = tokenizer(
            texts[start : start + _BATCH_SIZE], return_tensors="pt", padding=True, add_special_tokens=False
        ).to(model.device)
        with torch.inference_mode():
            output = model.generate(
                **batch, **decoding, max_new_tokens=max_new_tokens, pad_token_id=tokenizer.pad_token_id
            )
        answers += tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        if progress is not None:
            progress(step, len(answers), len(texts))
    by_index = dict(zip(order, answers, strict=True))
    return [by_index[i].strip() for i in range(len(conversations))]


def prefers_first(model: Any, tokenizer: Any, prompt: str, first: str, second: str, *, system: str = "") -> bool:
    """Return whether the first of two answers has the higher mean log-probability per token."""
    means = [fmean(token_logprobs(model, tokenizer, prompt, answer, system=system)) for answer in (first, second)]
    return means[0] > means[1]


def token_logprobs(model: Any, tokenizer: Any, prompt: str, answer: str, *, system: str = "") -> list[float]:
    """Return the log-probability of each token of an answer, in nats; ``system`` is an optional system turn."""
    torch = import_module("torch")
    model.eval()
    user: list[Message] = [{"role": "user", "content": prompt}]
    turns: list[Message] = [{"role": "system", "content": system}, *user] if system else user
    before = _encode(tokenizer, _render(tokenizer, turns))
    ids = torch.tensor([[*before, *_encode(tokenizer, answer)]], device=model.device)
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(input_ids=ids).logits[0, len(before) - 1 : -1].float(), dim=-1)
    return [float(logprob) for logprob in logprobs.gather(-1, ids[0, len(before) :, None]).squeeze(-1)]


def mean_prompt_tokens(tokenizer: Any, conversations: Sequence[Sequence[Message]]) -> float:
    """Return the mean number of prompt tokens, chat template included."""
    return fmean(len(_encode(tokenizer, _render(tokenizer, turns))) for turns in conversations)


@dataclass(frozen=True)
class ProbeResult:
    """Log-probabilities of the probe's answers.

    Attributes:
        base: mean without the adapter, in nats per token.
        adapter: mean with it, in nats per token.
        difference: mean absolute difference per token, in nats.
    """

    base: float
    adapter: float
    difference: float

    @property
    def changed(self) -> bool:
        """Whether the adapter changes anything."""
        return self.difference > _MIN_DIFFERENCE


def probe_logprobs(model: Any, tokenizer: Any) -> list[float]:
    """Return the log-probability of each token of the probe's answers, in nats."""
    return [logprob for prompt, answer in PROBE for logprob in token_logprobs(model, tokenizer, prompt, answer)]


def compare_logprobs(base: Sequence[float], adapter: Sequence[float]) -> ProbeResult:
    """Compare the probe's log-probabilities without an adapter and with it."""
    return ProbeResult(fmean(base), fmean(adapter), fmean(abs(a - b) for a, b in zip(base, adapter, strict=True)))


def attach_adapter(model: Any, weights: Path, name: str = "default", *, trainable: bool = False) -> Any:
    """Return a model with an adapter, or with one more.

    Args:
        model: of transformers, or a PEFT model that has adapters already.
        weights: the adapter's folder.
        name: the adapter's name on the model.
        trainable: whether training goes on from it.

    Raises:
        TrainingError: the adapter does not load, or its keys match no layer of the model.
    """
    peft = import_module("peft")
    # By default PEFT loads weights onto a GPU first, where there is one.
    device = str(model.device)
    try:
        with warnings.catch_warnings():
            # PEFT only warns about keys that match nothing, and continues with the base model.
            warnings.filterwarnings("error", message=".*(missing|unexpected).*adapter keys.*")
            if isinstance(model, peft.PeftModel):
                model.load_adapter(str(weights), adapter_name=name, torch_device=device, is_trainable=trainable)
                return model.eval()
            return peft.PeftModel.from_pretrained(
                model, str(weights), adapter_name=name, torch_device=device, is_trainable=trainable
            ).eval()
    except (OSError, ValueError, RuntimeError, KeyError, UserWarning, safetensors_error()) as error:
        raise TrainingError(
            f"The adapter in {weights} does not fit its base: {str(error).splitlines()[0]}.",
            remedy="Train it again, or give the base that it was trained on.",
        ) from error


def _render(tokenizer: Any, turns: Sequence[Message]) -> str:
    return str(tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=True))


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def merge_adapter(student: Student, weights: Path, folder: Path) -> Student:
    """Merge an adapter into its base, as a checkpoint of its own.

    Args:
        student: the adapter's base.
        weights: the adapter's folder.
        folder: the destination; must not exist or be empty.

    Returns:
        The merged model.

    Raises:
        InputError: the folder is not empty.
        TrainingError: the adapter does not fit its base.
        StorageError: the disk is full or not writable.
    """
    require_empty(folder)
    model, tokenizer = load_student(student)
    merged = attach_adapter(model, weights).merge_and_unload()
    with replace_folder(folder) as temporary:
        merged.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        require_empty(folder)
    return Student(str(folder), folder, student.sha256, student.license)
