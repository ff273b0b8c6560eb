import threading

import pytest

from aofnb.forensics.reading import ahead


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
