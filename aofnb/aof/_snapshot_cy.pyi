from collections.abc import Sequence
from typing import Any

COMPILED: bool

class Snapshot:
    pid: int
    def read(self) -> tuple[int, int, int, int]: ...

def start(
    fd: int,
    last_fd: int,
    prefix: bytes,
    databases: Sequence[tuple[bytes, dict[bytes, Any], dict[bytes, int]]],
    types: tuple[object, ...],
    checksum: bool,
    sync_bytes: int,
    key_delay: int,
    in_child: bool,
) -> Snapshot: ...
