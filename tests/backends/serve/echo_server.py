"""A chat model that says back what it is asked, behind the real OpenAI-compatible server."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hyperalign.backends.serve.openai_server import ChatModel, Completion, CompletionRequest, create_server
from hyperalign.errors import (
    InputError,
    NotFoundError,
)


class Echo:
    """Says back what it is asked."""

    def __init__(self) -> None:
        self.asked: list[CompletionRequest] = []

    @property
    def names(self) -> list[str]:
        return ["base-0", "letters-1a2b3c4d"]

    def complete(self, asked: CompletionRequest, on_text: Callable[[str], object] | None = None) -> Completion:
        if asked.model not in self.names:
            raise NotFoundError(f"There is no model {asked.model!r} here.")
        self.asked.append(asked)
        said = f"{asked.model}: {asked.messages[-1]['content']}"
        for piece in re.findall(r"\s*\S+", said) if on_text else ():
            on_text(piece)
        if "break" in said:
            raise InputError("It broke in the middle.")
        return Completion(said, 3, 2, truncated=False)


@contextmanager
def listening(model: ChatModel, key: str = "") -> Iterator[str]:
    server = create_server(model, port=0, key=key)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
