from collections.abc import Sequence

COMPILED: bool

class KeyRows:
    end: int
    def __init__(
        self,
        version: int,
        most_rows: int,
        most_bytes: int,
        intset_entries: int,
        zset_entries: int,
        zset_bytes: int,
    ) -> None: ...
    @property
    def is_full(self) -> bool: ...
    def __len__(self) -> int: ...
    def take_table(self) -> tuple[bytes, memoryview]: ...
    def add(self, offset: int, nbytes: int, end: int, argv: Sequence[bytes]) -> None: ...
    def take(self, data: bytes, at: int, base: int) -> tuple[int, bool]: ...
