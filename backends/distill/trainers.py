"""The TRL trainer of each training method.

- ``sft``: prompt distillation (Askell et al. 2021, section 2.1, called context distillation there). The loss is on the
  answer alone, and the prompt lacks the profile.
- ``dpo``: direct preference optimization of the best draft over the worst (Rafailov et al. 2023). ``ditto`` is made of
  the two; see ``ditto``.
- ``context``: self-distillation; the student's base sees the profile as privileged context. It needs no teacher, and
  can't exceed the student with the profile in its prompt.
- ``on-policy``: generalized knowledge distillation (Agarwal et al. 2024); a larger model of the same vocabulary scores
  the student's own generations token by token.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hyperalign.errors import InputError

from .dataset import TrainingRow, to_dataset
from .probe import attach_adapter
from .recipe import Method, Recipe

__all__ = ["BUILDERS", "REFERENCE", "TrainerInputs", "build_on_policy", "score_completions_only"]

REFERENCE = "ref"
"""TRL's name of the adapter that ``dpo`` compares with when training goes on from another."""

_IGNORED_LABEL = -100


@dataclass(frozen=True)
class TrainerInputs:
    """Everything that a trainer is built from.

    Attributes:
        model: the student's model.
        tokenizer: the student's tokenizer.
        rows: training rows.
        validation: validation rows; may be empty.
        recipe: hyperparameters.
        arguments: of ``transformers.TrainingArguments``, the same for all methods.
        lora: PEFT's configuration of the adapter.
        callbacks: of transformers.
        teacher: a model of the student's vocabulary, for ``on-policy``.
        start: the folder of an adapter that training goes on from; None for a new one.
        reference: the folder of an adapter that is ``dpo``'s reference; None for the student without one.
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
    start: Path | None = None
    reference: Path | None = None

    def build(self, trainer: type[Any], config: type[Any], *, teacher: Any = None, **options: Any) -> Any:
        """Return a TRL trainer with a configuration of ``arguments`` and ``options``."""
        return trainer(
            model=self.model if self.start is None else attach_adapter(self.model, self.start, trainable=True),
            processing_class=self.tokenizer,
            train_dataset=to_dataset(self.rows),
            eval_dataset=to_dataset(self.validation) if self.validation else None,
            peft_config=self.lora if self.start is None else None,
            callbacks=list(self.callbacks),
            args=config(**self.arguments, **options),
            **({} if teacher is None else {"teacher_model": teacher}),
        )


def score_completions_only(trainer: type[Any]) -> type[Any]:
    """Return a subclass of TRL's ``SFTTrainer`` that computes its loss faster on a CPU.

    On a GPU, TRL's kernel skips the prompt's tokens and the padding. On a CPU, TRL projects all tokens onto the
    vocabulary, twice, and discards most of the result: over half of a small model's step. The subclass projects the
    completion's tokens only; it computes no entropy and no accuracy.
    """
    cross_entropy = import_module("torch").nn.functional.cross_entropy

    def compute_loss(
        self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if return_outputs or self.accelerator.device.type != "cpu" or self.accelerator.num_processes > 1:
            return trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)
        targets = inputs["labels"][:, 1:]
        scored = targets != _IGNORED_LABEL
        first = int(scored.any(dim=0).int().argmax())
        arguments = {name: value for name, value in inputs.items() if name != "labels"}
        # One more logit than targets: the last one predicts what follows the row.
        kept = targets.shape[1] - first + 1
        logits = model(**arguments, use_cache=False, logits_to_keep=kept).logits[:, :-1]
        scored, targets = scored[:, first:], targets[:, first:]
        total = cross_entropy(logits[scored].float(), targets[scored], reduction="sum")
        return total / (scored.sum() if num_items_in_batch is None else num_items_in_batch).clamp(min=1)

    # The base class is known only once TRL is imported.
    return type("CompletionsOnlyTrainer", (trainer,), {"compute_loss": compute_loss})


def build_sft(inputs: TrainerInputs) -> Any:
    """Build TRL's ``SFTTrainer``."""
    trl = import_module("trl")
    return inputs.build(
        score_completions_only(trl.SFTTrainer),
        trl.SFTConfig,
        max_length=inputs.recipe.max_length,
        completion_only_loss=True,
        # "group_by_length" would fill each step with rows of one length, and so mostly of one person.
        train_sampling_strategy="batch_rebalance" if inputs.recipe.group_by_length else "random",
        # Without an attention kernel that knows row boundaries, packed rows would attend to each other.
        packing=False,
    )


def build_dpo(inputs: TrainerInputs) -> Any:
    """Build TRL's ``DPOTrainer``; the reference is the student without its adapter, or with another one."""
    trl = import_module("trl")
    recipe = inputs.recipe
    trainer = inputs.build(trl.DPOTrainer, trl.DPOConfig, max_length=recipe.max_length, beta=recipe.beta)
    if inputs.reference is not None:
        # TRL compares with a copy of the adapter that training goes on from; here that is an earlier one.
        peft, safetensors = import_module("peft"), import_module("safetensors.torch")
        weights = safetensors.load_file(inputs.reference / "adapter_model.safetensors")
        peft.set_peft_model_state_dict(trainer.model, weights, adapter_name=REFERENCE)
    return trainer


def build_on_policy(inputs: TrainerInputs) -> Any:
    """Build TRL's ``DistillationTrainer``.

    Raises:
        InputError: there is no teacher, or it has another vocabulary.
    """
    if inputs.teacher is None:
        raise InputError("'on-policy' needs a teacher with weights.", remedy="Give --teacher local:NAME.")
    own, other = inputs.model.config.vocab_size, inputs.teacher.config.vocab_size
    if own != other:
        raise InputError(
            f"The teacher has {other:,} tokens in its vocabulary, the student {own:,}.",
            remedy="Take a teacher and a student of one family, or --method sft.",
        )
    trl = import_module("trl")
    return inputs.build(
        trl.DistillationTrainer,
        trl.DistillationConfig,
        teacher=inputs.teacher,
        max_completion_length=inputs.recipe.max_new_tokens,
    )


def build_context(inputs: TrainerInputs) -> Any:
    """Build TRL's experimental ``SDFTTrainer``."""
    with warnings.catch_warnings():
        # The import warns that it is experimental.
        warnings.simplefilter("ignore")
        sdft = import_module("trl.experimental.sdft")
    return inputs.build(
        sdft.SDFTTrainer,
        sdft.SDFTConfig,
        max_prompt_length=inputs.recipe.max_length,
        max_completion_length=inputs.recipe.max_new_tokens,
        num_generations=1,
        # The order of strategies: the person first, then the prompt.
        teacher_prompt_template="{privileged_context}\n\n{prompt}",
    )


BUILDERS: Mapping[Method, Callable[[TrainerInputs], Any]] = {
    "sft": build_sft,
    "dpo": build_dpo,
    "context": build_context,
    "on-policy": build_on_policy,
}
