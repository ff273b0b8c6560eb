"""Commands of a log that are still where they stood in it: objects are made only for whoever wants some."""

from __future__ import annotations

from collections.abc import Iterator

from aofnb.resp import _plain_cy

__all__ = ["Pairs", "Records"]


class Pairs:
    """Iterate over it for ``(key, value)`` after ``(key, value)``.

    Parameters
    ----------
    data
        Where they stand.
    places
        Four numbers for each pair, 32-bit integers of the machine: where the key begins and ends in `data`, and the
        value; ends are exclusive.
    """

    __slots__ = ("data", "places")

    def __init__(self, data: bytes, places: bytes) -> None:
        self.data = data
        self.places = places

    def __len__(self) -> int:
        return len(self.places) // 16

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        data, numbers = self.data, iter(memoryview(self.places).cast("i"))
        for start, end, value_start, value_end in zip(numbers, numbers, numbers, numbers, strict=True):
            yield data[start:end], data[value_start:value_end]


class Records:
    """Plain commands, with nothing but annotations between them; ``records[index]`` is one, as a list of arguments.

    Parameters
    ----------
    data
        Where they stand.
    places
        Two numbers for each argument, 32-bit integers of the machine: where it begins and ends in `data`, exclusive.
    starts
        A number for each command, and one more: where in `places` its first argument is.
    """

    __slots__ = ("data", "places", "starts")

    def __init__(self, data: bytes, places: bytes, starts: bytes) -> None:
        self.data = data
        self.places = places
        self.starts = starts

    def __len__(self) -> int:
        return len(self.starts) // 4 - 1

    def __getitem__(self, index: int) -> list[bytes]:
        starts, places = memoryview(self.starts).cast("i"), memoryview(self.places).cast("i")
        first, end = starts[index : index + 2]
        return [self.data[places[at] : places[at + 1]] for at in range(first, end, 2)]

    def argvs(self) -> list[list[bytes]]:
        """All of them."""
        return _plain_cy.argvs_of(self.data, self.places, self.starts)
