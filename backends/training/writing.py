"""What a checkpoint in memory says: answers to conversations, and which of two answers it finds likelier.

For judging adapters where they were trained; serving them to others is a server's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from statistics import fmean
from typing import Any

from hyperalign.programs.score import Progress
from hyperalign.scores import Message

__all__ = ["answers", "likelier", "prompt_tokens", "token_scores"]

_AT_ONCE = 8


def answers(
    model: Any,
    tokenizer: Any,
    asked: Sequence[Sequence[Message]],
    *,
    max_new: int,
    progress: Progress | None = None,
    step: str = "answers",
) -> list[str]:
    """The model's greedy answers, in the order asked.

    Args:
        model: of transformers, with or without an adapter.
        tokenizer: its own, with a chat template.
        asked: conversations.
        max_new: tokens of an answer.
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
                max_new_tokens=max_new,
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
