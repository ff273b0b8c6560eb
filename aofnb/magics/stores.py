"""Which store a magic means, and the stores that magics opened.

A store opened by ``%redis --open`` belongs to the extension: it is closed at unload and at the end of the
process. One found in the user's namespace stays the user's. ``%redis --connect`` makes a server one of them.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any

import aofnb
from aofnb.engine import Store, open_store
from aofnb.errors import AofnbError
from aofnb.magics.cells import AnyStore, Cells, LocalCells, RemoteCells, is_remote, is_store
from aofnb.magics.parse import MagicError

__all__ = ["Stores"]

_REMEDY = "open one with: %redis --open mydata"
_SCHEMES = ("redis://", "rediss://", "unix://", "redis+cluster://", "rediss+cluster://")


class Stores:
    """Names of opened stores, the one in use, and a session for each store that was ever used."""

    def __init__(self) -> None:
        # By the name or path given; insertion order is the order of opening.
        self._opened: dict[str, AnyStore] = {}
        self._owned: list[AnyStore] = []
        self._current: AnyStore | None = None
        # A session of their own, so that SELECT and MULTI in a cell do not disturb the user's code.
        self._cells: weakref.WeakKeyDictionary[AnyStore, Cells] = weakref.WeakKeyDictionary()

    def open(
        self,
        path: str,
        name: str | None,
        settings: Mapping[str, str],
        namespace: Mapping[str, Any],
        *,
        readonly: bool = False,
    ) -> Store:
        """Open the store at `path` and use it from now on; one that is already open here is used again.

        Running a cell twice is ordinary in a notebook, so this is no error; settings are then applied as
        CONFIG SET does.
        """
        if path.startswith(_SCHEMES):
            raise MagicError("a server is not opened but connected to: %redis --connect URL")
        absolute = os.path.abspath(os.path.expanduser(path))
        there = [*self._opened.values(), *_stores_in(namespace).values()]
        store = next((s for s in there if _is_at(s, absolute, readonly)), None)
        if store is None:
            by_attribute: dict[str, Any] = {setting.replace("-", "_"): value for setting, value in settings.items()}
            store = open_store(path, readonly=readonly, **by_attribute)
            self._owned.append(store)
        else:
            for setting, value in settings.items():
                if store.config_get(setting) != store.config.setting(setting).format(_parsed(store, setting, value)):
                    store.config_set(setting, value)
        self._opened[name or path] = store
        self._current = store
        return store

    def connect(self, url: str, name: str | None) -> AnyStore:
        """Connect to the server at `url` and use it from now on; one that is connected already is used again."""
        store = next((one for one in self._owned if is_remote(one) and one.url == url and not one.closed), None)
        if store is None:
            try:
                store = aofnb.connect(url)
            except ImportError:
                raise MagicError("--connect needs redis-py: pip install 'aofnb[redis]'") from None
            self._owned.append(store)
        self._opened[name or store.shown] = store
        self._current = store
        return store

    def find(self, name: str | None, namespace: Mapping[str, Any]) -> AnyStore:
        """The store called `name`, or the one in use.

        Without a name that is the last one opened or named here; failing that, the only open one in `namespace`.

        Raises
        ------
        MagicError
            There is none, it is closed, or several are meant; says what to type.
        """
        if name is not None:
            return self._named(name, namespace)
        if self._current is not None and not self._current.closed:
            return self._current
        candidates = {id(store): label for label, store in _stores_in(namespace).items() if not store.closed}
        if len(candidates) == 1:
            return namespace[next(iter(candidates.values()))]
        if candidates:
            raise MagicError(f"several stores are open; say which: --store {' | '.join(sorted(candidates.values()))}")
        raise MagicError(f"no store is open; {_REMEDY}")

    def _named(self, name: str, namespace: Mapping[str, Any]) -> AnyStore:
        value = namespace.get(name)
        store = value if is_store(value) else self._opened.get(name)
        if store is None:
            absolute = os.path.abspath(name)
            by_path = (
                store
                for label, store in self._opened.items()
                if (not is_remote(store) and store.path == absolute) or os.path.basename(label) == name
            )
            store = next(by_path, None)
        if store is None:
            if name in namespace:
                raise MagicError(f"{name} is a {type(value).__name__}, not a store; {_REMEDY}")
            raise MagicError(f"no store is called {name!r}; {_REMEDY}")
        if store.closed:
            raise MagicError(f"store {name!r} is closed; {_REMEDY}")
        return store

    def names(self, namespace: Mapping[str, Any]) -> list[str]:
        """What ``--store`` can name: variables, and what was opened here."""
        return sorted({*_stores_in(namespace), *(name for name, one in self._opened.items() if not one.closed)})

    def name_of(self, store: AnyStore) -> str:
        """What `store` is called in outputs: a server by its address, without its password.

        Never a whole path, which differs from machine to machine.
        """
        if is_remote(store):
            return str(store.shown)
        for name, opened in reversed(self._opened.items()):
            if opened is store:
                return os.path.basename(os.path.normpath(name))
        return "in memory" if store.path is None else os.path.basename(store.path)

    def cells(self, store: AnyStore) -> Cells:
        """Where cells run on `store`."""
        cells = self._cells.get(store)
        if cells is None:
            cells = self._cells[store] = RemoteCells(store) if is_remote(store) else LocalCells(store)
        return cells

    def peek(self, name: str | None, namespace: Mapping[str, Any]) -> Cells | None:
        """Where a cell would run now, or None; never raises, for completion."""
        try:
            return self.cells(self.find(name, namespace))
        except AofnbError:
            return None

    @property
    def current(self) -> AnyStore | None:
        """The store last opened or named here, unless it is closed."""
        return None if self._current is None or self._current.closed else self._current

    def close(self, store: AnyStore) -> None:
        """Close `store` and forget its names."""
        self._opened = {name: opened for name, opened in self._opened.items() if opened is not store}
        self._owned = [owned for owned in self._owned if owned is not store]
        if self._current is store:
            self._current = next((opened for opened in reversed(self._opened.values()) if not opened.closed), None)
        cells = self._cells.pop(store, None)
        if isinstance(cells, RemoteCells):
            cells.close_tab()
        store.close()

    def close_all(self) -> None:
        """Close what was opened here; what the user opened stays open.

        Raises
        ------
        AofnbError
            The first failure, after all were closed.
        """
        problem: AofnbError | None = None
        for store in list(self._owned):
            try:
                self.close(store)
            except AofnbError as failed:
                problem = problem or failed
        for cells in self._cells.values():
            if isinstance(cells, RemoteCells):
                cells.close_tab()
        self._opened.clear()
        self._current = None
        if problem is not None:
            raise problem


def _parsed(store: Store, setting: str, value: str) -> Any:
    return store.config.setting(setting).parse(value)


def _is_at(store: AnyStore, path: str, readonly: bool) -> bool:
    return not is_remote(store) and not store.closed and store.path == path and store.readonly is readonly


def _stores_in(namespace: Mapping[str, Any]) -> dict[str, AnyStore]:
    """Stores in `namespace` by variable name, each once; names that IPython made (``_``, ``_3``) do not count."""
    found: dict[int, tuple[str, AnyStore]] = {}
    for label, value in list(namespace.items()):
        if is_store(value) and not label.startswith("_"):
            found.setdefault(id(value), (label, value))
    return dict(found.values())
