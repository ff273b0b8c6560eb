import threading

import pytest

from aofnb.clock import FakeClock
from aofnb.forensics import reading
from aofnb.forensics.reading import Bar, ahead


def counting(end, closed, problem=None):
    """Numbers up to `end`, then `problem`; notes in `closed` which thread was done with it."""
    try:
        yield from range(end)
        if problem is not None:
            raise problem
    finally:
        closed.append(threading.current_thread().name)


def test_items_come_in_their_order_from_another_thread():
    closed = []
    assert list(ahead(counting(1000, closed))) == list(range(1000))
    assert closed == ["aofnb-ahead"]


def test_nothing_is_made_that_is_more_than_one_in_front():
    made = []

    def noting():
        for number in range(100):
            made.append(number)
            yield number

    items = ahead(noting())
    assert [next(items) for _ in range(10)] == list(range(10))
    items.close()
    assert 10 <= len(made) <= 11


def test_an_error_comes_behind_what_was_made_before_it():
    closed = []
    got = []
    with pytest.raises(OSError, match="no such luck"):
        got.extend(ahead(counting(3, closed, OSError("no such luck"))))
    items = ahead(counting(3, closed, OSError("no such luck")))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="no such luck"):
        next(items)
    with pytest.raises(StopIteration):
        next(items)
    assert len(closed) == 2


@pytest.mark.parametrize("taken", [1, 2])
def test_whoever_stops_early_ends_the_thread(taken):
    closed = []
    items = ahead(counting(1000, closed))
    for _ in range(taken):
        next(items)
    # Gone is as good as closed.
    del items
    assert closed == ["aofnb-ahead"]
    assert "aofnb-ahead" not in {thread.name for thread in threading.enumerate()}


# --- progress --------------------------------------------------------------------------------------------


def on_screen(written):
    """The lines that a terminal shows behind these bytes."""
    lines = []
    for line in written.split("\n"):
        shown = ""
        for piece in line.split("\r"):
            shown = piece + shown[len(piece) :]
        lines.append(shown.rstrip())
    return lines


@pytest.mark.parametrize("columns", [80, 20, 5])
def test_a_bar_stays_on_its_line_and_goes_at_the_end(capsys, monkeypatch, columns):
    monkeypatch.setattr(reading, "_columns", lambda: columns)
    clock = FakeClock()
    tell = Bar(clock)
    tell(10, 2_000_000_000)
    written = capsys.readouterr().err
    assert written == ""  # a short wait needs no bar
    for done in (150_000_000, 1_999_999_990, 7):
        clock.advance(2)
        tell(done, 2_000_000_000)
        tell(done + 1, 2_000_000_000)
        written += capsys.readouterr().err
        (line,) = on_screen(written)
        assert 0 < len(line) < columns
    assert line == "read 0 %, 7 B of 2.0 GB"[: columns - 1].rstrip()
    tell(2_000_000_000, 2_000_000_000)
    written += capsys.readouterr().err
    assert on_screen(written) == [""]
    assert written.endswith("\r")


def test_of_nothing_there_is_no_share(capsys):
    clock = FakeClock()
    tell = Bar(clock)
    clock.advance(2)
    tell(0, 0)
    assert capsys.readouterr().err == ""
