import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aofnb.store.list_value import CHUNK, ListValue

pytestmark = pytest.mark.usefixtures("packing")

# Around the borders of one, two and three chunks.
SIZES = [0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK, 5 * CHUNK + 7]


def numbered(size: int) -> list[bytes]:
    return [b"%d" % i for i in range(size)]


def uneven(size: int) -> ListValue:
    """A list whose first chunk is not full, unless it is too short for that."""
    value = ListValue(numbered(size + 3))
    for _ in range(3):
        value.pop_first()
    for i in (2, 1, 0):
        value.prepend(b"%d" % i)
    value.trim(0, size)
    return value


@pytest.mark.parametrize("size", SIZES)
def test_a_list_gives_back_its_elements(size):
    value = ListValue(numbered(size))
    value._check()
    assert list(value) == numbered(size)
    assert list(reversed(value)) == numbered(size)[::-1]
    assert [value[i] for i in range(size)] == numbered(size)
    assert len(value) == size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [lambda size: ListValue(numbered(size)), uneven], ids=["even", "uneven"])
def test_insert_and_remove_at_any_place_do_what_a_python_list_does(make, size):
    rng = random.Random(size)
    for index in {0, size, size // 2, *(rng.randint(0, size) for _ in range(20))}:
        value = make(size)
        model = list(value)
        value.insert(index, b"new")
        model.insert(index, b"new")
        value._check()
        assert list(value) == model
        assert value.remove(b"new", 1) == 1
        model.remove(b"new")
        value._check()
        assert list(value) == model


@given(st.lists(st.integers(0, 11), max_size=60), st.randoms(use_true_random=False))
def test_any_run_of_changes_leaves_what_a_python_list_has(operations, rng):
    model = [b"%d" % (i % 7) for i in range(rng.choice(SIZES))]
    value = ListValue(model)
    for operation in operations:
        size = len(model)
        item = b"%d" % rng.randrange(7)
        if operation <= 1:
            for _ in range(rng.choice([1, 3, CHUNK])):
                value.append(item) if operation else value.prepend(item)
                model.insert(len(model) if operation else 0, item)
        elif operation <= 3 and model:
            for _ in range(min(size, rng.choice([1, 3, CHUNK]))):
                assert (value.pop_last() if operation == 2 else value.pop_first()) == model.pop(
                    -1 if operation == 2 else 0
                )
        elif operation <= 5:
            index = rng.randint(0, size)
            value.insert(index, item)
            model.insert(index, item)
        elif operation == 6:
            limit = rng.choice([1, 2, 1000])
            places = [i for i, known in enumerate(model) if known == item][:limit]
            assert value.remove(item, limit) == len(places)
            model = [known for i, known in enumerate(model) if i not in places]
        elif operation == 7:
            limit = rng.choice([1, 2, 1000])
            places = [i for i, known in enumerate(model) if known == item][-limit:]
            assert value.remove_last(item, limit) == len(places)
            model = [known for i, known in enumerate(model) if i not in places]
        elif operation == 8:
            start, stop = sorted((rng.randint(0, size), rng.randint(0, size)))
            assert value.slice(start, stop) == model[start:stop]
            if rng.random() < 0.3:
                value.trim(start, stop)
                model = model[start:stop]
        elif model:
            index = rng.randrange(size)
            assert value[index] == model[index]
            value[index] = model[index] = item
        value._check()
        assert list(value) == model


def test_a_copy_does_not_follow_the_original():
    value = ListValue(numbered(CHUNK + 1))
    twin = value.copy()
    value.append(b"x")
    value[0] = b"y"
    assert list(twin) == numbered(CHUNK + 1)
    assert twin.encoding == "quicklist"


def test_check_sees_a_short_chunk_in_the_middle():
    value = ListValue(numbered(3 * CHUNK))
    value.chunks[1].pop()
    with pytest.raises(AssertionError):
        value._check()
