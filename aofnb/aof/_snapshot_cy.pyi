from collections.abc import Sequence
from typing import Any

from aofnb.store._table_cy import Table

COMPILED: bool

class Snapshot:
    pid: int
    def read(self) -> tuple[int, int, int, int]: ...

def start(
    fd: int,
    last_fd: int,
    prefix: bytes,
    databases: Sequence[tuple[bytes, Table[Any], Table[int]]],
    types: tuple[object, ...],
    checksum: bool,
    durable: bool,
    sync_bytes: int,
    key_delay: int,
    in_child: bool,
) -> Snapshot: ...
