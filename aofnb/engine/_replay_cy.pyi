from aofnb.resp.pairs import Records
from aofnb.store.keyspace import Database

COMPILED: bool
OPERATIONS: frozenset[bytes]

def transaction_end(argvs: list[list[bytes]], index: int) -> int: ...
def apply(
    commands: Records | list[list[bytes]],
    index: int,
    count: int,
    db: Database,
    limits: tuple[int, int, int, int, int, int, int],
) -> int: ...
