from typing import Any

from aofnb.engine.core import Engine

COMPILED: bool

def answer(
    engine: Engine, arrived: list[tuple[Any, bytes]], most: int, now_s: float
) -> tuple[list[tuple[Any, bytes]], list[tuple[Any, bytes]]]: ...
