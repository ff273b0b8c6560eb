from collections.abc import Callable
from typing import Any

from aofnb.store._table_cy import Table

COMPILED: bool

def records(
    data: bytes,
    at: int,
    values: Table[Any],
    deadlines: Table[int],
    hash_of: Callable[[dict[bytes, bytes], int], Any],
    value_of: Callable[[int, bytes], Any],
    later: bool,
) -> tuple[int, bool]: ...
def fields(data: bytes, at: int, found: dict[bytes, bytes]) -> tuple[int, int]: ...
def strings(data: bytes, at: int, count: int, found: list[bytes]) -> int: ...
def scores(data: bytes, at: int, count: int, found: dict[bytes, float]) -> tuple[int, int]: ...
