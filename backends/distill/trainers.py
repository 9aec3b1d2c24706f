"""What every builder is handed. It builds nothing.

The loss of a training on answers, without the work that it does not need on a CPU.

TRL leaves out the prompt's tokens and the padding by a kernel for GPUs; on a CPU it projects all of them onto the whole
vocabulary, twice, and throws them away: more than half of a step, for a small model.

Training on the teacher's answers without the profile in the prompt: prompt distillation (Askell et al. 2021, section
2.1, there called context distillation). Any teacher will do. The loss is on the answer alone.

Training on the best draft over the worst: direct preference optimization (Rafailov et al. 2023).

Training on the student's own words, judged token by token by a larger model of the same vocabulary: on-policy
distillation (Agarwal et al. 2024, generalized knowledge distillation).

Training a student to be without the profile what its own base is with it: self-distillation, where the teacher is
the student's base and sees the profile as privileged context. It needs no answers of anybody else's, and can get no
better than the student with the profile in its prompt.

One trainer of TRL for each method, one file each.

A builder is handed the student, its rows and the arguments that all methods share, and gives TRL's trainer. It decides
nothing that the recipe says.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from hyperalign.errors import InputError

from .dataset import TrainingRow, dataset
from .recipe import Method, Recipe

__all__ = [
    "BUILDERS",
    "Build",
    "Prepared",
    "build_context",
    "build_dpo",
    "build_on_policy",
    "build_sft",
    "scoring_answers_alone",
]


@dataclass(frozen=True)
class Prepared:
    """A student with its rows and how to train it.

    Attributes:
        model: the student's model.
        tokenizer: its tokenizer.
        rows: to train on.
        validation: to watch; may be empty.
        recipe: how.
        arguments: of ``transformers.TrainingArguments``, the same for all methods.
        lora: PEFT's configuration of the adapter.
        callbacks: of transformers.
        teacher: a model of the student's vocabulary, for ``on-policy``.
    """

    model: Any
    tokenizer: Any
    rows: Sequence[TrainingRow]
    validation: Sequence[TrainingRow]
    recipe: Recipe
    arguments: Mapping[str, Any]
    lora: Any
    callbacks: Sequence[Any]
    teacher: Any = None

    @property
    def parts(self) -> dict[str, Any]:
        """What TRL's trainers take by one name each."""
        return {
            "model": self.model,
            "processing_class": self.tokenizer,
            "train_dataset": dataset(self.rows),
            "eval_dataset": dataset(self.validation) if self.validation else None,
            "peft_config": self.lora,
            "callbacks": list(self.callbacks),
        }


_NO_TARGET = -100


def scoring_answers_alone(trainer: type[Any]) -> type[Any]:
    """TRL's ``SFTTrainer``, with the same loss as its own, of the answer's tokens alone.

    On a GPU, or on several processes, it is TRL's. Entropy and accuracy, which nobody reads here, are not computed.
    """
    cross_entropy = import_module("torch").nn.functional.cross_entropy

    def compute_loss(
        self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if return_outputs or self.accelerator.device.type != "cpu" or self.accelerator.num_processes > 1:
            return trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)
        targets = inputs["labels"][:, 1:]
        scored = targets != _NO_TARGET
        first = int(scored.any(dim=0).int().argmax())
        asked = {name: value for name, value in inputs.items() if name != "labels"}
        # One more than there are targets: what would follow the last token is nobody's.
        kept = targets.shape[1] - first + 1
        logits = model(**asked, use_cache=False, logits_to_keep=kept).logits[:, :-1]
        scored, targets = scored[:, first:], targets[:, first:]
        total = cross_entropy(logits[scored].float(), targets[scored], reduction="sum")
        return total / (scored.sum() if num_items_in_batch is None else num_items_in_batch).clamp(min=1)

    # Not by a class statement: its base is known only where TRL is installed.
    return type("ScoringAnswersAlone", (trainer,), {"compute_loss": compute_loss})


def build_sft(prepared: Prepared) -> Any:
    """TRL's ``SFTTrainer`` on prompt-completion rows."""
    trl = import_module("trl")
    config = trl.SFTConfig(
        **prepared.arguments,
        max_length=prepared.recipe.max_length,
        completion_only_loss=True,
        # Not "group_by_length": its steps are of one length each, and so mostly of one person.
        train_sampling_strategy="batch_rebalance" if prepared.recipe.group_by_length else "random",
        # Packed rows would see each other without an attention that respects their boundaries.
        packing=False,
    )
    return scoring_answers_alone(trl.SFTTrainer)(args=config, **prepared.parts)


def build_dpo(prepared: Prepared) -> Any:
    """TRL's ``DPOTrainer`` on rows of prompt, chosen and rejected; the reference is the student without its adapter."""
    trl = import_module("trl")
    config = trl.DPOConfig(**prepared.arguments, max_length=prepared.recipe.max_length)
    return trl.DPOTrainer(args=config, **prepared.parts)


def build_on_policy(prepared: Prepared) -> Any:
    """TRL's ``DistillationTrainer`` on prompts alone.

    Raises:
        InputError: there is no teacher, or it has another vocabulary.
    """
    if prepared.teacher is None:
        raise InputError("'on-policy' needs a teacher with weights.", remedy="Give --teacher local:NAME.")
    own, theirs = prepared.model.config.vocab_size, prepared.teacher.config.vocab_size
    if own != theirs:
        raise InputError(
            f"The teacher has {theirs:,} tokens in its vocabulary, the student {own:,}.",
            remedy="Take a teacher and a student of one family, or --method sft.",
        )
    trl = import_module("trl")
    config = trl.DistillationConfig(**prepared.arguments, max_completion_length=prepared.recipe.max_new_tokens)
    return trl.DistillationTrainer(args=config, teacher_model=prepared.teacher, **prepared.parts)


def build_context(prepared: Prepared) -> Any:
    """TRL's experimental ``SDFTTrainer`` on rows of prompt and privileged context."""
    with warnings.catch_warnings():
        # It says once more that it is experimental.
        warnings.simplefilter("ignore")
        sdft = import_module("trl.experimental.sdft")
    recipe = prepared.recipe
    config = sdft.SDFTConfig(
        **prepared.arguments,
        max_prompt_length=recipe.max_length,
        max_completion_length=recipe.max_new_tokens,
        num_generations=1,
        # As strategies have it: what is said of the person, then the prompt.
        teacher_prompt_template="{privileged_context}\n\n{prompt}",
    )
    return sdft.SDFTTrainer(args=config, **prepared.parts)


class Build(Protocol):
    """``build(prepared)``: TRL's trainer, ready to train."""

    def __call__(self, prepared: Prepared, /) -> Any:
        """The trainer."""
        ...


BUILDERS: Mapping[Method, Build] = {
    "sft": build_sft,
    "dpo": build_dpo,
    "context": build_context,
    "on-policy": build_on_policy,
}
