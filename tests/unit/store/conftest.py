"""Containers are tested packed, by the kernel in both of its forms, and as they are without it."""

from __future__ import annotations

import pytest
from support.kernels import FORMS, kernel

from aofnb.store import hash_value, list_value, zset


@pytest.fixture(params=[*FORMS, "never"])
def packing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    form: str = request.param
    for module in (hash_value, list_value, zset):
        monkeypatch.setattr(module, "PACKS", form != "never")
        if form != "never":
            monkeypatch.setattr(module, "packed", kernel("aofnb.store._packed_cy", form))
    return form
