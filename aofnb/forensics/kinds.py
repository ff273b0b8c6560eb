"""Kinds of keys, counted: `user:1` and `user:2` are two of `user:{n}`.

What a kind is, `roles.template` says. Most keys of a log are of few kinds, so a kind is made once, and looked up for
each other key: by the kernel `_kinds_cy`, or, where that is not compiled, by Arrow for all keys at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aofnb.forensics import _kinds_cy
from aofnb.forensics.roles import template

__all__ = ["Kinds", "Sums", "text_of"]

Ints = npt.NDArray[Any]

OTHERS = "(others)"
# Where one of these is, there may be more than numbers to take out: eight hexadecimal digits, any of which may be the
# first letter, or the beginning of a UUID without letters.
_ODD = "|".join([*(f"[0-9]{{{n}}}[a-fA-F][0-9a-fA-F]{{{7 - n}}}" for n in range(8)), "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-"])


def text_of(keys: pa.Array) -> pa.Array:
    """Keys as text, which they mostly are; what is no UTF-8 is escaped."""
    try:
        return keys.cast(pa.string())
    except pa.ArrowInvalid:
        texts = (None if key is None else key.decode("utf-8", "backslashreplace") for key in keys.to_pylist())
        return pa.array(texts, pa.string())


class Kinds:
    """Numbers the kinds of keys in the order in which they are met.

    Parameters
    ----------
    most
        So many are told apart; all others are ``(others)``.

    Attributes
    ----------
    words
        The kinds, by number.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self.words: list[str] = []
        self._numbers: dict[str, int] = {}
        # For the kernel: spellings, of which two may be one kind (a key may have "{n}" in it), and the kind of each.
        self._spellings: list[bytes] = []
        self._kind_of = np.zeros(64, np.int32)
        self._rebuild()

    def codes(self, keys: pa.Array) -> Ints:
        """The number of the kind of each of `keys`, which are text; int32, -1 for null."""
        if not len(keys):
            return np.zeros(0, np.int32)
        found = self._by_kernel(keys) if _kinds_cy.COMPILED else self._by_pattern(keys)
        if keys.null_count:
            found[keys.is_null().to_numpy(zero_copy_only=False)] = -1
        return found

    def _number(self, kind: str) -> int:
        number = self._numbers.get(kind)
        if number is None:
            if self._most is not None and len(self.words) >= self._most and kind != OTHERS:
                return self._number(OTHERS)
            number = self._numbers[kind] = len(self.words)
            self.words.append(kind)
        return number

    # --- compiled ----------------------------------------------------------------------------------------

    def _by_kernel(self, keys: pa.Array) -> Ints:
        offsets = np.frombuffer(keys.buffers()[1], np.int32)[keys.offset : keys.offset + len(keys) + 1]
        data = np.frombuffer(keys.buffers()[2] or b"", np.uint8).data
        scratch = bytearray(int(np.diff(offsets).max()))
        found = np.empty(len(keys), np.int32)
        row = 0
        while True:
            row = _kinds_cy.number(data, offsets, row, self._slots, self._texts, self._begins, scratch, found)
            if row == len(keys):
                return self._kind_of[found]
            key = data[offsets[row] : offsets[row + 1]]
            spelling = bytes(scratch[: _kinds_cy.spelled(key, scratch)])
            self._add(spelling, self._number(template(key.tobytes().decode())))

    def _add(self, spelling: bytes, number: int) -> None:
        place = len(self._spellings)
        if place == len(self._kind_of):
            self._kind_of = np.concatenate((self._kind_of, np.zeros_like(self._kind_of)))
        self._kind_of[place] = number
        self._spellings.append(spelling)
        end = int(self._begins[place]) + len(spelling)
        if 2 * place >= len(self._slots) or place + 2 > len(self._begins) or end > len(self._texts):
            self._rebuild()
            return
        self._texts[end - len(spelling) : end] = spelling
        self._begins[place + 1] = end
        self._put(place)

    def _rebuild(self) -> None:
        """The tables of the kernel, with room for as many again."""
        count = len(self._spellings)
        text = b"".join(self._spellings)
        self._texts = bytearray(text) + bytes(len(text) + 1000)
        self._begins = np.zeros(2 * count + 64, np.int32)
        self._begins[1 : count + 1] = np.cumsum([len(each) for each in self._spellings])
        self._slots = np.full(1 << (count + 32).bit_length() + 2, -1, np.int32)
        for place in range(count):
            self._put(place)

    def _put(self, place: int) -> None:
        slot = _kinds_cy.slot_of(self._spellings[place], len(self._slots))
        while self._slots[slot] >= 0:
            slot = (slot + 1) % len(self._slots)
        self._slots[slot] = place

    # --- not compiled ------------------------------------------------------------------------------------

    def _by_pattern(self, keys: pa.Array) -> Ints:
        odd = pc.match_substring_regex(keys, _ODD).fill_null(False)
        plain = pc.if_else(odd, pa.scalar(None, pa.string()), keys)
        kinds = pc.replace_substring_regex(plain, "[0-9]+", "{n}").dictionary_encode()
        by_kind = np.array([self._number(kind) for kind in kinds.dictionary.to_pylist()] + [-1], np.int32)
        found = by_kind[kinds.indices.fill_null(-1).to_numpy()]
        rare = keys.filter(odd).dictionary_encode()
        if len(rare):
            by_key = np.array([self._number(template(key)) for key in rare.dictionary.to_pylist()], np.int32)
            found[odd.to_numpy(zero_copy_only=False)] = by_key[rare.indices.to_numpy()]
        return found


class Sums:
    """Rows and bytes by number, growing with the numbers."""

    def __init__(self) -> None:
        self.rows = np.zeros(0, np.int64)
        self.nbytes = np.zeros(0, np.int64)

    def add(self, numbers: Ints, nbytes: Ints) -> None:
        """One row for each of `numbers`, of so many bytes; a negative number is none."""
        there = numbers >= 0
        if not there.all():
            numbers, nbytes = numbers[there], nbytes[there]
        if not len(numbers):
            return
        count = max(int(numbers.max()) + 1, len(self.rows))
        rows, total = np.bincount(numbers, minlength=count), np.bincount(numbers, nbytes, count).astype(np.int64)
        rows[: len(self.rows)] += self.rows
        total[: len(self.nbytes)] += self.nbytes
        self.rows, self.nbytes = rows, total

    def of(self, words: list[str]) -> Iterator[tuple[str, int, int]]:
        """Word, rows and bytes of each of `words` that has any."""
        for word, rows, nbytes in zip(words, self.rows.tolist(), self.nbytes.tolist(), strict=False):
            if rows:
                yield word, rows, nbytes
