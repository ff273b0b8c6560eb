from typing import Any

from aofnb.engine.core import Engine

COMPILED: bool

class Plain:
    def __init__(self, engine: Engine) -> None: ...
    def answer(
        self, arrived: list[tuple[Any, bytes]], most: int, now_s: float
    ) -> tuple[list[tuple[Any, bytes]], list[tuple[Any, bytes]]]: ...
