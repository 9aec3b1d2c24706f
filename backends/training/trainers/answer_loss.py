"""The loss of a training on answers, without the work that it does not need on a CPU.

TRL leaves out the prompt's tokens and the padding by a kernel for GPUs; on a CPU it projects all of them onto the whole
vocabulary, twice, and throws them away: more than half of a step, for a small model.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["scoring_answers_alone"]

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
