"""Keys and values of a log that are still where they stood in it: objects are made only for whoever wants some."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Pairs"]


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
