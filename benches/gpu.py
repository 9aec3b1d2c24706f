"""Training on one GPU without network and weights, in ten minutes: speed, memory, an adapter from end to end, vLLM.

Models have the shapes of Qwen2.5 and Llama 3 from 0.5 to 8 billion parameters; their weights are drawn on the device
and their tokenizer is trained on the spot, so nothing is downloaded. What is measured of each is an epoch of LoRA
training by TRL's own defaults and by the recipe here, with the functions of ``training_speed``. Before that, a small
model of random weights is distilled on planted texts from end to end, and a vLLM, if there is one, has to serve the
adapter as PEFT reads it. It prints one Markdown table, and what could not be run with the reason. On a processor the
shapes are toys, to try the program. Run it with: make bench-gpu
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
Found = TypeVar("Found")

if TYPE_CHECKING:
    from benches.training_speed import Epoch
    from hyperalign.backends.distill.adapters import Adapter
    from hyperalign.backends.distill.recipe import Hardware
    from hyperalign.backends.distill.student import Student

TRAINING = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "tokenizers")
ITSELF = ("pydantic", "httpx", "jinja2", "filelock", "platformdirs", "lazy_loader")
DISTILLING = ("dspy", "litellm", "numpy", "sklearn")
WORDS = (
    "rope boat tide net lamp bread soup river hill snow garden letter window clock night horse road wind fence apple"
)
MINUTES, _GRACE = 8.5, 45  # the last part may take so many seconds more
_ROUNDING = 0.1  # nats per token; vLLM may compute in 16 bits
_SMALL_SHAPE = 2_000_000_000  # parameters


@dataclass(frozen=True)
class Shape:
    """The dimensions of a published model; its family is its class in transformers, without ``Config``."""

    name: str
    family: str
    size: dict[str, Any]

    def as_toy(self) -> Shape:
        """The same family small enough for a processor."""
        small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 2048}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
        return Shape(f"{self.name}, toy", self.family, {**self.size, **small, **heads})


def _shape(name: str, family: str, numbers: Sequence[int], **more: Any) -> Shape:
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    return Shape(name, family, dict(zip(names, numbers, strict=True)) | more)


SHAPES = (  # as in the models' config.json
    _shape("Qwen2.5 0.5B", "Qwen2", (896, 4864, 24, 14, 2), vocab_size=151_936, tie_word_embeddings=True),
    _shape("Llama 3.2 1B", "Llama", (2048, 8192, 16, 32, 8), vocab_size=128_256, tie_word_embeddings=True),
    _shape("Qwen2.5 1.5B", "Qwen2", (1536, 8960, 28, 12, 2), vocab_size=151_936, tie_word_embeddings=True),
    _shape("Qwen2.5 7B", "Qwen2", (3584, 18_944, 28, 28, 4), vocab_size=152_064, tie_word_embeddings=False),
    _shape("Llama 3 8B", "Llama", (4096, 14_336, 32, 32, 8), vocab_size=128_256, tie_word_embeddings=False),
)

SMALL = _shape("small", "Llama", (256, 512, 4, 4, 4), vocab_size=2048, tie_word_embeddings=True)
"""What is distilled and served: heads of 64, which every kernel knows."""

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Report:
    """The table's rows, and notes on what was found beside them and what was not run."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes
        self.rows: list[str] = []
        self.notes: list[str] = []
        self.left_out: list[str] = []

    def run(self, name: str, part: Callable[[], Found], *needs: str) -> Found | None:
        """Run a part of the bench, which needs some modules; where it can't be run, note why, and return None."""
        missing = [module for module in needs if importlib.util.find_spec(module) is None]
        try:
            if missing:
                raise LookupError(f"not installed here: {', '.join(missing)}")
            if time.monotonic() > self.end:
                raise LookupError("the time was used up")
            print(f"… {name}", file=sys.stderr, flush=True)
            return part()
        except Exception as error:  # one part's failure is a line of the report, whatever it is
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            self.left_out.append(f"{name}: {reason[:400]}")
            return None

    def __str__(self) -> str:
        names = ("model, random weights", "parameters", "setting", "tokens a second", "times as fast", "memory, GB")
        head = [f"| {' | '.join(names)} | of a matrix product's speed |", "|---|---|---|---|---|---|---|"]
        left_out = [f"Not run: {reason}." for reason in self.left_out] or ["Everything was run."]
        notes = [f"- {note}" for note in (*self.notes, *left_out)]
        return "\n".join([*head, *self.rows, "", *notes])


def planted_text(drawn: random.Random, sentences: int) -> str:
    """A text in a manner that is easy to learn."""
    things = WORDS.split()
    return " ".join(f"Aye, the {drawn.choice(things)} by the {drawn.choice(things)}, mate." for _ in range(sentences))


def question(drawn: random.Random) -> str:
    """A prompt; there are some thousands of them."""
    return "What do you say of the {}, the {} and the {}?".format(*drawn.choices(WORDS.split(), k=3))


def make_tokenizer() -> Any:
    """A byte-level BPE tokenizer with a chat template, trained on the planted texts."""
    import tokenizers
    import transformers

    drawn = random.Random(0)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=2048,
        special_tokens=special,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [f"system user assistant {question(drawn)} {planted_text(drawn, 4)}" for _ in range(400)]
    model.train_from_iterator(texts, trainer)
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=special[1:]
    )
    made.chat_template = TEMPLATE
    return made


def make_model(shape: Shape, device: str, tokenizer: Any) -> Any:
    """A model of a shape, in float32 as students are loaded, with weights drawn on the device."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{shape.family}Config")(
        **shape.size,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def make_rows(count: int, *, longest: int) -> list[dict[str, Any]]:
    """Training rows of many lengths, as letters have them."""
    drawn = random.Random(1)
    return [
        {
            "prompt": [{"role": "user", "content": question(drawn)}],
            "completion": [{"role": "assistant", "content": planted_text(drawn, drawn.randint(4, longest))}],
        }
        for _ in range(count)
    ]


def measure_training(report: Report, shape: Shape, tokenizer: Any, hardware: Hardware, able: float) -> None:
    """Add a row for TRL's defaults and one for the recipe here."""
    from benches.training_speed import BATCH, choices, train_epoch
    from hyperalign.backends.distill.recipe import suggest_recipe
    from hyperalign.backends.distill.train import measure_lengths

    on_card = hardware.device == "cuda"
    parameters = make_model(shape, "meta", tokenizer).num_parameters()
    recipe = suggest_recipe("sft", parameters, hardware)
    # A small model's epoch must last long enough to be timed.
    count = 16 if not on_card else 512 if parameters < _SMALL_SHAPE else 128
    rows = make_rows(count, longest=40 if on_card else 6)
    tokens = sum(measure_lengths(rows, tokenizer, 1024).tokens)
    chosen: dict[str, Any] = {}
    for change in choices(min(recipe.micro_batch_size, BATCH)).values():
        chosen |= change

    def train(changed: dict[str, Any]) -> Epoch:
        # A new one each time: what a failure leaves may have half an adapter.
        model = make_model(shape, hardware.device, tokenizer)
        # Kernels are chosen and memory is taken before the clock runs.
        _, tuned = train_epoch(model, tokenizer, rows[: 2 * BATCH], [], changed)
        _forget_peak(hardware)
        return train_epoch(tuned.unload(), tokenizer, rows, [], changed)[0]

    first = 0.0
    for name, changed in (
        ("TRL's defaults", {}),
        ("the recipe here", {**chosen, "gradient_checkpointing": recipe.gradient_checkpointing}),
    ):
        epoch = report.run(f"training of {shape.name}, {name}", partial(train, changed))
        _forget_peak(hardware)
        if epoch is not None:
            first = epoch.seconds if not changed else first
            cells = [
                shape.name,
                f"{parameters / 1e9:.2f} B" if on_card else f"{parameters:,}",
                name,
                f"{tokens / epoch.seconds:,.0f}",
                f"{first / epoch.seconds:.2f}" if first else "unknown",
                f"{epoch.memory / 1e9:.1f}",
                f"{4 * parameters * tokens / epoch.seconds / able:.0%}",
            ]
            report.rows.append(f"| {' | '.join(cells)} |")
            print(report.rows[-1], file=sys.stderr, flush=True)


def _forget_peak(hardware: Hardware) -> None:
    import torch

    gc.collect()
    if hardware.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


@dataclass(frozen=True)
class Planted:
    """An adapter, and the nats per token of a text that it was not taught, without it and with it."""

    student: Student
    adapter: Adapter
    prompt: str
    text: str
    nats: tuple[float, float]


def distill_planted(report: Report, folder: Path, tokenizer: Any, hardware: Hardware) -> Planted:
    """Distill planted texts into a small model of random weights by ``ditto``: training, sampling, DPO and files."""
    from hyperalign.backends.distill.collect import Teacher
    from hyperalign.backends.distill.distill import Distillation, distill
    from hyperalign.backends.distill.probe import attach_adapter, token_logprobs
    from hyperalign.backends.distill.recipe import Ditto, suggest_recipe
    from hyperalign.backends.distill.student import count_parameters, load_student, open_student
    from hyperalign.profile import Profile
    from hyperalign.programs.strategies import strategy
    from hyperalign.records import Sample

    drawn = random.Random(2)
    make_model(SMALL, hardware.device, tokenizer).save_pretrained(folder / "student")
    tokenizer.save_pretrained(folder / "student")
    student = open_student(str(folder / "student"))
    texts = {question(drawn): planted_text(drawn, 3) for _ in range(12)}
    *train, last = texts.items()
    recipe = suggest_recipe(
        "ditto",
        count_parameters(student),
        hardware,
        max_new_tokens=32,
        rank=16,
        ditto=Ditto(rounds=2, samples=2, steps=2, sft_steps=30, sft_learning_rate=1e-2),
    )
    job = Distillation(
        "planted",
        [Profile(user="sailor")],
        [question(drawn) for _ in range(40)],
        student,
        recipe,
        records={"sailor": [Sample(user="sailor", prompt=prompt, text=text) for prompt, text in train]},
    )
    began = time.perf_counter()
    adapter = distill(job, Teacher(None, strategy("verified")), folder / "planted", hardware=hardware)
    took = time.perf_counter() - began
    model, _ = load_student(student)
    model.to(hardware.device)
    before = fmean(token_logprobs(model, tokenizer, *last))
    after = fmean(token_logprobs(attach_adapter(model, adapter.path), tokenizer, *last))
    report.notes.append(
        f"`distill --method ditto` of {len(train)} planted texts, a model of {count_parameters(student):,} random "
        f"parameters: {adapter.card.training['steps']} steps in {took:.0f} s with its samples and files; a text that "
        f"it was not taught has {after:.2f} nats a token with the adapter, {before:.2f} without."
    )
    if after <= before:
        raise ArithmeticError("the adapter made an untaught text of the same manner less likely")
    return Planted(student, adapter, *last, (before, after))


def serve_planted(report: Report, made: Planted | None) -> None:
    """Load the adapter into the official vLLM, and compare log-probabilities with PEFT's."""
    from hyperalign.backends.serve.vllm import VLLMServer, find_vllm_python, fit_rank
    from hyperalign.backends.serve.vllm_adapters import VLLMClient, load_adapter
    from hyperalign.scores import Message

    if made is None:
        raise LookupError("there is no adapter")
    adapter, python = made.adapter, find_vllm_python()
    if subprocess.run([python, "-c", "import vllm"], capture_output=True, check=False).returncode:
        raise LookupError(f"{python} has no vLLM that can be imported")
    began = time.perf_counter()

    def give_up(*_: object) -> None:  # the server itself would be waited for fifteen minutes
        raise TimeoutError("the time was used up")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(max(1, round(report.end - time.monotonic()) + _GRACE))
    with VLLMServer(python, made.student.path, adapter.card.base_name, port=0, rank=fit_rank([adapter])) as server:
        client = VLLMClient(f"{server.address}/v1")
        load_adapter(client, adapter)
        found = []
        for name in (adapter.card.base_name, adapter.served_name):
            with client.scorer(name) as scorer:
                (score,) = scorer.score([Message(role="user", content=made.prompt)], [made.text])
                found.append(score.logprob / score.tokens)
    signal.alarm(0)
    report.notes.append(
        f"vLLM started, loaded the adapter and scored that text in {time.perf_counter() - began:.0f} s: {found[1]:.2f} "
        f"nats a token with the adapter, {found[0]:.2f} without."
    )
    if max(abs(one - two) for one, two in zip(found, made.nats, strict=True)) > _ROUNDING:
        raise ArithmeticError("vLLM and PEFT do not give the text the same probability")


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no part is begun after so many")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="so many shapes, the smallest first")
    asked = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    missing = [name for name in (*TRAINING, *ITSELF) if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(
            f"{sys.executable} lacks {', '.join(missing)}. This bench installs nothing, since it may have no network. "
            "Name a Python that has them with GPU_PYTHON=…, or make one where there is: make .venv-train/.ready"
        )
    sys.path.insert(0, str(ROOT))
    if importlib.util.find_spec("hyperalign.backends") is None:
        # Not installed: the checkout keeps packages beside the one that they are imported from.
        importlib.import_module("hyperalign").__path__.append(str(ROOT))
    report = Report(asked.minutes)
    # Libraries print losses and progress: the output has the report alone.
    with redirect_stdout(sys.stderr):
        measure(report, asked.shapes)
    print(report)


def measure(report: Report, shapes: int) -> None:
    """Run all parts, with so many of the shapes."""
    import datasets
    from transformers.utils import logging

    from benches.training_speed import product_speed
    from hyperalign.backends.distill.recipe import find_hardware

    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    hardware = find_hardware()
    on_card, able, tokenizer = hardware.device == "cuda", product_speed(hardware), make_tokenizer()
    report.notes.append(
        f"{describe(hardware)}; a matrix product in {'bfloat16' if hardware.bf16 else 'float32'} reaches "
        f"{able / 1e12:.2f} TFLOP/s. Speed is measured after a warm-up of two steps; four operations a parameter and "
        "token are counted, forward and back."
    )
    if not on_card:
        report.left_out.append("the real shapes: there is no CUDA device, and toys stand for them")
    with tempfile.TemporaryDirectory() as folder:
        planted = partial(distill_planted, report, Path(folder), tokenizer, hardware)
        made = report.run("an adapter from end to end", planted, *DISTILLING)
        for shape in SHAPES[:shapes]:
            measure_training(report, shape if on_card else shape.as_toy(), tokenizer, hardware, able)
        report.run("the adapter on the official vLLM", partial(serve_planted, report, made))


def describe(hardware: Hardware) -> str:
    """The device with its memory, and the libraries."""
    import torch

    name = torch.cuda.get_device_name(0) if hardware.device == "cuda" else f"{os.cpu_count()} processor cores"
    versions = [f"{each} {version(each)}" for each in ("torch", "transformers", "peft", "trl")]
    return f"{name}, {hardware.memory / 2**30:.0f} GiB, {', '.join(versions)}"


if __name__ == "__main__":
    main()
