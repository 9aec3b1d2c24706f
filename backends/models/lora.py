"""LoRA adapters as llama.cpp reads them: PEFT's weights written as a GGUF file beside their base's.

The names and the order of rows are those that llama.cpp's own conversion gives the base: in Llama models, rows of
queries and keys are reordered, since their rotary positions pair neighbors there and halves in transformers.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import MissingExtraError, TrainingError, UnknownModelError
from hyperalign.files import cache_folder, make_private_file, make_private_folder, storage_error

from .catalogue import LocalModel, resolve
from .gguf_file import GGUFFile

__all__ = ["Lora", "is_adapter", "read_lora", "write_lora"]

_CARD, _MANIFEST, _CONFIG, _WEIGHTS = "card.json", "manifest.json", "adapter_config.json", "adapter_model.safetensors"
_TOKENIZER = "tokenizer.json"
_AGAIN = "Distill it again, or get an intact copy."
_HASH_CHARACTERS = 8
# PEFT's names of a layer's matrices, and llama.cpp's.
_MATRICES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_KEY = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.([\w.]+)\.lora_([AB])\.weight")
# What changes a LoRA's mathematics beyond rank and scale: left out without a word, answers would be others.
_UNSUPPORTED = ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias", "layer_replication")


@dataclass(frozen=True)
class Lora:
    """An adapter to be served by llama.cpp.

    Attributes:
        folder: where it is.
        name: on its card.
        base: the model that it was trained on.
        sha256: of its weights.
    """

    folder: Path
    name: str
    base: LocalModel
    sha256: str

    @property
    def served_name(self) -> str:
        """The name in requests: it carries the weights, so that no cache confuses two adapters."""
        return f"{self.name}-{self.sha256[:_HASH_CHARACTERS]}"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / _CARD).is_file()


def read_lora(folder: Path) -> Lora:
    """Read what an adapter is, and of which base.

    Raises:
        UnknownModelError: the folder holds no whole adapter, or the base is not here any more.
        TrainingError: its base has other weights now, or is no GGUF file, which vLLM alone serves.
    """
    try:
        card = json.loads((folder / _CARD).read_bytes())
        name, base, base_sha256 = (str(card[key]) for key in ("name", "base", "base_sha256"))
        sha256 = str(_listed(folder)[_WEIGHTS])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnknownModelError(f"{folder} holds no whole adapter.", remedy="Distill it again.") from error
    scheme, _, rest = base.partition(":")
    if scheme != "local":
        raise TrainingError(
            f"The base of the adapter {name} is a checkpoint folder, {base}, which llama.cpp does not read.",
            remedy="Serve it with vLLM: hyperalign serve --engine vllm",
        )
    model = resolve(rest)
    if model.sha256 != base_sha256:
        raise TrainingError(
            f"The adapter {name} was trained on other weights than {base} has.",
            remedy=f"Its base is {base}, as it was then: restore those weights, or distill the adapter again.",
        )
    return Lora(folder, name, model, sha256)


def write_lora(lora: Lora, base: Path) -> Path:
    """Write an adapter in llama.cpp's form into the cache, unless it is there.

    Args:
        lora: the adapter.
        base: the file of its base.

    Returns:
        The file.

    Raises:
        TrainingError: the adapter is damaged, changes nothing, or can't be served in this form.
        StorageError: the disk is full or not writable.
        MissingExtraError: the 'local' extra is not installed.
    """
    file = cache_folder() / "loras" / f"{lora.sha256[:16]}-{lora.base.sha256[:16]}.gguf"
    if file.is_file():
        return file
    file_of_base = GGUFFile(base)
    _check_tokens(lora, file_of_base)
    config = json.loads(_checked(lora.folder, _CONFIG))
    if odd := next((name for name in _UNSUPPORTED if config.get(name)), None):
        raise _unserved(lora, f"its {odd} is set")
    tensors = _matrices(lora, _read_safetensors(lora, _checked(lora.folder, _WEIGHTS)), file_of_base)
    rank = int(config["r"])
    # llama.cpp scales by alpha / rank; rank-stabilized LoRA by alpha / sqrt(rank).
    alpha = float(config["lora_alpha"]) * (rank**0.5 if config.get("use_rslora") else 1.0)
    _write(file, file_of_base.architecture, alpha, tensors)
    return file


def _check_tokens(lora: Lora, base: GGUFFile) -> None:
    """Check that a base has the tokens that an adapter was trained with, if it says which."""
    file = lora.folder / _TOKENIZER
    if not file.is_file():
        return
    try:
        data = json.loads(file.read_bytes())
        own = {**data["model"]["vocab"], **{each["content"]: each["id"] for each in data["added_tokens"]}}
        known: list[str] = base.tokenizer("ggml.tokens", [])
        differing = sum(known[number : number + 1] != [token] for token, number in own.items())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{file} can't be read.", remedy=_AGAIN) from error
    if differing:
        raise TrainingError(
            f"The adapter {lora.name} was trained with another vocabulary than {lora.base.name} has: "
            f"{differing} tokens differ.",
            remedy="Restore the base's original tokenizer, or distill the adapter again.",
        )


def _listed(folder: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((folder / _MANIFEST).read_bytes())["sha256"]
    return found


def _checked(folder: Path, name: str) -> bytes:
    """A file's content, if it is what the manifest says."""
    try:
        data = (folder / name).read_bytes()
        if hashlib.sha256(data).hexdigest() == _listed(folder)[name]:
            return data
        problem = "does not match its manifest"
    except (OSError, ValueError, KeyError, TypeError):
        problem = "is missing"
    raise TrainingError(f"{name} of the adapter in {folder} {problem}.", remedy=_AGAIN)


def _read_safetensors(lora: Lora, data: bytes) -> dict[str, NDArray[np.float32]]:
    """The tensors of a file of safetensors, which is a JSON header and bare numbers."""
    try:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        return {
            name: _numbers(data[start + each["data_offsets"][0] : start + each["data_offsets"][1]], each)
            for name, each in header.items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise TrainingError(f"The weights of the adapter in {lora.folder} can't be read.", remedy=_AGAIN) from error


def _numbers(data: bytes, entry: Mapping[str, Any]) -> NDArray[np.float32]:
    if entry["dtype"] == "BF16":
        # The upper half of a float32.
        found = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        found = np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[entry["dtype"]]).astype(np.float32)
    return found.reshape(entry["shape"])


def _matrices(lora: Lora, weights: Mapping[str, NDArray[np.float32]], base: GGUFFile) -> dict[str, Any]:
    """The adapter's matrices by llama.cpp's names, each with what fits the base's."""
    found: dict[str, NDArray[np.float32]] = {}
    changes = False
    for key, values in weights.items():
        match = _KEY.fullmatch(key)
        name = f"blk.{match[1]}.{_MATRICES.get(match[2], '')}.weight" if match else ""
        if match is None or name not in base:
            raise _unserved(lora, f"{key} fits no layer of {lora.base.name}")
        # Rows of the base's matrix are outputs, and columns inputs.
        side = 0 if match[3] == "B" else 1
        if values.ndim != 2 or values.shape[side] != base.shape(name)[side]:  # a matrix
            raise _unserved(lora, f"{key} has another shape than that layer of {lora.base.name}")
        changes = changes or (match[3] == "B" and bool(values.any()))
        heads = base.heads if name.endswith("attn_q.weight") else base.groups
        is_paired = (
            match[3] == "B" and base.architecture == "llama" and name.endswith(("attn_q.weight", "attn_k.weight"))
        )
        found[f"{name}.lora_{match[3].lower()}"] = _paired(values, heads) if is_paired else values
    if not changes:
        raise TrainingError(
            f"The adapter {lora.name} changes nothing in {lora.base.name}.",
            remedy="It learned nothing: distill it again.",
        )
    return found


def _paired(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows reordered from halves of each head to neighbors."""
    return values.reshape(heads, 2, len(values) // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)


def _unserved(lora: Lora, why: str) -> TrainingError:
    return TrainingError(
        f"The adapter {lora.name} can't be served by llama.cpp: {why}.",
        remedy="Serve it with vLLM: hyperalign serve --engine vllm",
    )


def _write(file: Path, architecture: str, alpha: float, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    try:
        from gguf import GGUFWriter
    except ImportError as error:
        raise MissingExtraError("Serving an adapter", "local") from error
    make_private_folder(file.parent)
    # Readable by the owner alone from its first byte: weights remember texts.
    temporary = file.with_suffix(f".{secrets.token_hex(4)}.part")
    make_private_file(temporary)
    try:
        writer = GGUFWriter(temporary, architecture)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        for name, values in tensors.items():
            writer.add_tensor(name, np.ascontiguousarray(values))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        temporary.replace(file)
    except OSError as error:
        raise storage_error(error, file) from error
    finally:
        temporary.unlink(missing_ok=True)
