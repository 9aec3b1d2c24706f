"""Adapters in llama.cpp's form, served by the real embedded server."""

from __future__ import annotations

import json
import pickle
import stat
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from hyperalign.backends.distill.probe import attach_adapter
from hyperalign.backends.distill.student import Student, load_student
from hyperalign.backends.models.catalogue import resolve
from hyperalign.backends.models.connect import check_ready, connect
from hyperalign.backends.models.gguf_file import GGUFFile
from hyperalign.backends.models.llama_server import LlamaServer, ServerSettings
from hyperalign.backends.models.lora import read_lora, write_lora
from hyperalign.errors import ModelServerError, TrainingError, UnknownModelError
from tests.backends.distill.small_students import needs_train
from tests.fixtures.loras import BASE, adapter_of, random_lora
from tests.fixtures.scripted_server import ScriptedServer

pytest.importorskip("gguf", reason="the 'local' extra is not installed")
SMALL = ServerSettings(threads=1, slots=1, context=512)


def test_an_adapter_of_a_folder_answers_unlike_its_base(smollm_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the 'local' extra is not installed")
    del smollm_path
    adapter = random_lora(tmp_path, "letters", seed=1)
    lm = connect(f"adapter:{adapter.path}", server=SMALL, temperature=0.0, max_tokens=12)
    check_ready(lm)
    assert lm.model == f"openai/{adapter.served_name}"
    server = lm.target.server
    assert isinstance(server, LlamaServer)
    (said,) = lm("Tell me about the sea.")
    (bare,) = connect(f"local:{BASE}", server=SMALL, temperature=0.0, max_tokens=12)("Tell me about the sea.")
    assert said != bare
    copy = pickle.loads(pickle.dumps(server))
    assert copy.address() == server.address(), "programs share the server of an adapter"
    copy.close()
    lm.kill()
    assert lm("Tell me about the sea.") == [said], "it is started anew"
    lm.kill()


def test_rows_of_queries_and_keys_are_reordered_as_the_base_is(smollm_path: Path, tmp_path: Path) -> None:
    """Undone as transformers undoes it for the base's own matrix, they are those that were trained."""
    rows = np.arange(576 * 4, dtype=np.float32).reshape(576, 4)
    part = "base_model.model.model.layers.3.self_attn.q_proj"
    tensors = {f"{part}.lora_A.weight": np.ones((4, 576), np.float32), f"{part}.lora_B.weight": rows}
    lora = read_lora(adapter_of(tmp_path, "rows", tensors, use_rslora=True).path)
    file = write_lora(lora, smollm_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = GGUFFile(file, any_kind=True)
    assert found._values["adapter.lora.alpha"] == pytest.approx(8 * 2), "alpha 8 of rank 4, rank-stabilized"
    written = found.weight("blk.3.attn_q.weight.lora_b")
    heads, half = 9, 32
    undone = written.reshape(heads, half, 2, 4).swapaxes(1, 2).reshape(576, 4)
    assert np.array_equal(undone, rows)
    assert np.array_equal(found.weight("blk.3.attn_q.weight.lora_a"), np.ones((4, 576), np.float32))


@pytest.mark.parametrize(
    ("tensors", "config", "said"),
    [
        ({}, {}, "changes nothing"),
        ({"model.layers.0.self_attn.q_proj.lora_A.weight": np.ones((4, 576))}, {}, "fits no layer"),
        ({"base_model.model.model.layers.77.mlp.down_proj.lora_B.weight": np.ones((576, 4))}, {}, "fits no layer"),
        ({"base_model.model.lm_head.lora_A.weight": np.ones((4, 576))}, {}, "fits no layer"),
        (
            {"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": np.ones((192, 4))},
            {},
            "has another shape than that layer",
        ),
        ({}, {"use_dora": True}, "its use_dora is set"),
        ({}, {"rank_pattern": {"q_proj": 8}}, "its rank_pattern is set"),
        ({}, {"modules_to_save": ["lm_head"]}, "its modules_to_save is set"),
    ],
)
def test_what_llama_cpp_would_serve_as_something_else_is_refused(
    smollm_path: Path, tmp_path: Path, tensors: dict[str, np.ndarray], config: dict[str, object], said: str
) -> None:
    made = {name: values.astype(np.float32) for name, values in tensors.items()}
    lora = read_lora(adapter_of(tmp_path, "odd", made, **config).path)
    with pytest.raises(TrainingError, match=said):
        write_lora(lora, smollm_path)


def test_a_damaged_adapter_and_one_of_another_base_are_refused(smollm_path: Path, tmp_path: Path) -> None:
    folder = random_lora(tmp_path, "letters", seed=1, layers=1).path
    card = json.loads((folder / "card.json").read_text())
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(TrainingError, match=r"adapter_model\.safetensors .* does not match its manifest"):
        write_lora(read_lora(folder), smollm_path)
    weights.unlink()
    with pytest.raises(TrainingError, match="is missing"):
        write_lora(read_lora(folder), smollm_path)
    (folder / "card.json").write_text(json.dumps({**card, "base_sha256": "0" * 64}))
    with pytest.raises(TrainingError, match="other weights"):
        connect(f"adapter:{folder}")
    (folder / "card.json").write_text(json.dumps({**card, "base": str(tmp_path)}))
    with pytest.raises(TrainingError, match=r"checkpoint folder(.|\n)*--engine vllm"):
        connect(f"adapter:{folder}")
    (folder / "manifest.json").unlink()
    with pytest.raises(UnknownModelError, match="no whole adapter"):
        connect(f"adapter:{folder}")


@needs_train
@pytest.mark.filterwarnings("default")
def test_it_says_what_peft_says(student: Student, tmp_path: Path) -> None:
    """The same adapter on the same base: the next tokens that both find likely, and how likely."""
    import torch

    adapter = random_lora(tmp_path, "letters", seed=1, scale=0.1)
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8}
    config |= {"target_modules": ["q_proj", "k_proj", "down_proj"], "base_model_name_or_path": str(student.path)}
    peft = tmp_path / "peft"
    peft.mkdir()
    (peft / "adapter_config.json").write_text(json.dumps(config))
    (peft / "adapter_model.safetensors").write_bytes((adapter.path / "adapter_model.safetensors").read_bytes())
    bare, tokenizer = load_student(student)
    turns = [{"role": "user", "content": "Tell me about the sea."}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=False)

    def likely(model: Any) -> dict[str, float]:
        with torch.inference_mode():
            found = model(ids).logits[0, -1].float().log_softmax(-1).topk(10)
        return {tokenizer.decode([at]): float(value) for value, at in zip(found.values, found.indices, strict=True)}

    before, expected = likely(bare), likely(attach_adapter(bare, peft))
    server = LlamaServer(resolve(BASE), SMALL, loras=(read_lora(adapter.path),))
    address = server.address()
    body = {"model": "any", "messages": turns, "max_tokens": 1, "logprobs": True, "top_logprobs": 20, "temperature": 1}
    answer = httpx.post(
        f"{address.base}/chat/completions", json=body, headers={"Authorization": f"Bearer {address.key}"}, timeout=60
    ).json()
    server.close()
    first = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    found = {each["token"]: each["logprob"] for each in first}
    shared = expected.keys() & found.keys()
    assert len(shared) >= 8, (expected, found)
    off = np.mean([abs(expected[token] - found[token]) for token in shared])
    moved = np.mean([abs(before[token] - expected[token]) for token in before.keys() & expected.keys()])
    # llama.cpp rounds what a quantized matrix is multiplied by; rows in a wrong order would be off by more than moved.
    assert off < 0.5 * moved, (off, moved, expected, found)


def test_an_adapter_with_other_tokens_than_its_base_is_refused(smollm_path: Path, tmp_path: Path) -> None:
    tokens: list[str] = GGUFFile(smollm_path).tokenizer("ggml.tokens")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    part = "base_model.model.model.layers.0.mlp.down_proj"
    tensors = {f"{part}.lora_A.weight": np.ones((4, 1536)), f"{part}.lora_B.weight": np.ones((576, 4))}
    made = {name: values.astype(np.float32) for name, values in tensors.items()}
    same, added = {"model": {"vocab": vocabulary}, "added_tokens": []}, {"content": "<|ada|>", "id": len(tokens)}
    folder = adapter_of(tmp_path, "same", made, tokenizer=same).path
    assert write_lora(read_lora(folder), smollm_path).is_file()
    folder = adapter_of(
        tmp_path,
        "other",
        {**made, f"{part}.lora_A.weight": 2 * made[f"{part}.lora_A.weight"]},
        tokenizer={**same, "added_tokens": [added]},
    ).path
    with pytest.raises(TrainingError, match="another vocabulary than smollm2-135m-instruct has: 1 tokens differ"):
        write_lora(read_lora(folder), smollm_path)


def test_no_adapter_goes_on_from_what_another_read(smollm_path: Path, tmp_path: Path) -> None:
    """On one slot: another prompt between two of one, the second by another adapter."""
    pytest.importorskip("xllamacpp", reason="the 'local' extra is not installed")
    del smollm_path
    loras = [read_lora(random_lora(tmp_path, name, seed=seed).path) for name, seed in (("a", 1), ("b", 2))]
    server = LlamaServer(resolve(BASE), SMALL, loras=loras)
    address = server.address()

    def ask(chosen: int | None, text: str) -> str:
        scales = [{"id": number, "scale": float(number == chosen)} for number in range(2)] if chosen is not None else []
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 12, "temperature": 0}
        body |= {"lora": scales} if chosen is not None else {}
        headers = {"Authorization": f"Bearer {address.key}"}
        answer = httpx.post(f"{address.base}/chat/completions", json=body, headers=headers, timeout=60).json()
        return str(answer["choices"][0]["message"]["content"])

    sea, hills = "Tell me about the sea.", "Name three hills and say why anybody should climb each of them in winter."
    alone = ask(1, sea)
    ask(0, sea)
    ask(1, hills)
    assert ask(1, sea) == alone
    server.close()
    (bare,) = connect(f"local:{BASE}", server=SMALL, temperature=0.0, max_tokens=12)(sea)
    with_none = LlamaServer(resolve(BASE), SMALL, loras=loras)
    address = with_none.address()
    assert ask(None, sea) == bare, "a request that names no adapter is the base's"
    with_none.close()


@pytest.mark.parametrize("name", ["./letters", "nowhere/letters", "~nobody/letters", "{empty}"])
def test_a_mistyped_folder_is_not_taken_for_the_name_of_a_served_adapter(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownModelError, match="There is no adapter in the folder"):
        connect(f"adapter:{name.format(empty=tmp_path)}")


def test_a_server_that_refuses_the_key_is_not_called_missing(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted_server, "refused_models", 401)
    monkeypatch.setenv("HYPERALIGN_ADAPTERS", scripted_server.url)
    with pytest.raises(ModelServerError, match=r"refuses the key\. Set HYPERALIGN_SERVE_KEY"):
        connect("adapter:letters")
    with pytest.raises(ModelServerError, match=r"refuses the key\. Set VLLM_API_KEY"):
        connect(f"vllm:{scripted_server.url}")


def test_loras_of_one_base_have_servers_of_their_own(tmp_path: Path) -> None:
    from hyperalign.backends.models.llama_server import _Places

    model = resolve(BASE)
    first, second = (read_lora(random_lora(tmp_path, name, seed=2, layers=1).path) for name in ("a", "b"))
    stems = [_Places.of(model, SMALL, loras).stem for loras in ((), (first,), (second,), (first, second))]
    assert len(set(stems)) == 4
