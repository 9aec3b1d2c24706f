"""Splits chats and texts into a GGUF file's tokens, as llama.cpp does it, with a user's words kept free of control
tokens.

The file holds the tokens and merges of a byte-pair encoding, and the name of the rule that splits text before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hyperalign.errors import ModelError
from hyperalign.scores import Message

from ..gguf_file import CONTROL, USER_DEFINED, GGUFFile
from .chat import Render, clean, jinja_render, tokenize_context

__all__ = ["ChatTokenizer", "check_tokenizer"]

_BYTE_PAIRS = "gpt2"
# Qwen2's rule: contractions, words, single digits, signs, and runs of white space.
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_RULES = ("qwen2", "smollm")


class ChatTokenizer:
    """Turns chats and texts into tokens; a user's words never become control tokens.

    Args:
        file: a model that carries a chat template.

    Attributes:
        special: text of each control token, and its id.

    Raises:
        ModelError: the file has no chat template, or a tokenizer that is not known here.
    """

    def __init__(self, file: GGUFFile) -> None:
        check_tokenizer(file)
        tokens: list[str] = file.tokenizer("ggml.tokens", [])
        kinds: list[int] = file.tokenizer("ggml.token_type", [])
        self.special = {text: index for index, text in enumerate(tokens) if kinds[index : index + 1] == [CONTROL]}
        made = [text for text, kind in zip(tokens, kinds, strict=False) if kind == USER_DEFINED]
        self._encoding = _encoding(file, tokens, made)
        bos, eos = file.tokenizer("ggml.bos_token_id"), file.tokenizer("ggml.eos_token_id")
        self._first = bos if file.tokenizer("ggml.add_bos_token", False) else None
        self._render: Render = jinja_render(
            str(file.tokenizer("chat_template")),
            bos="" if bos is None else tokens[bos],
            eos="" if eos is None else tokens[eos],
        )

    def prompt(self, context: Sequence[Message]) -> list[int]:
        """Tokens of a chat, with what begins the assistant's turn after it.

        Args:
            context: the turns, at least one.

        Raises:
            ModelError: the template refuses the turns.
        """
        tokens = tokenize_context(self._render, context, self.special, self.tokens)
        if self._first is not None and tokens[:1] != [self._first]:
            tokens.insert(0, self._first)
        return tokens

    def tokens(self, text: str) -> list[int]:
        """Tokens of a text, in which nothing is a control token."""
        return list(self._encoding.encode(clean(text), add_special_tokens=False).ids)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, control tokens spelled out."""
        return str(self._encoding.decode(list(tokens), skip_special_tokens=False))


def check_tokenizer(file: GGUFFile) -> None:
    """Check that a file's chats can be split into tokens.

    Raises:
        ModelError: the file has no chat template, or a tokenizer that is not known here.
    """
    kind, rule = file.tokenizer("ggml.model"), file.tokenizer("ggml.pre")
    if kind != _BYTE_PAIRS or rule not in _RULES:
        raise file.unsupported(f"splits text into tokens by a rule that is not known ('{kind}', '{rule}')")
    if not file.tokenizer("chat_template"):
        raise ModelError(
            "The model file carries no chat template.", remedy="Choose the instruction-tuned file of the model."
        )


def _encoding(file: GGUFFile, tokens: list[str], made: list[str]) -> Any:
    """A ``tokenizers.Tokenizer`` that knows no control token."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    merges = [tuple(merge.split(" ", 1)) for merge in file.tokenizer("ggml.merges", [])]
    try:
        encoding = Tokenizer(BPE({text: index for index, text in enumerate(tokens)}, merges))
    except Exception as error:
        # The library raises nothing narrower.
        raise file.unsupported(f"holds merges of tokens that make no sense ({error})") from error
    if file.tokenizer("ggml.pre") == "qwen2":
        split = pre_tokenizers.Split(Regex(_QWEN2), "isolated")
        steps = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    else:
        # One digit a token, then the rule of GPT-2.
        steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    encoding.pre_tokenizer = pre_tokenizers.Sequence(steps)
    encoding.decoder = decoders.ByteLevel()
    # Not control tokens, yet whole wherever they stand.
    encoding.add_tokens([AddedToken(text, special=False, normalized=False) for text in made])
    return encoding
