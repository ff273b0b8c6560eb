"""Which store a magic means, and the stores that magics opened.

A store opened by ``%redis --open`` belongs to the extension: it is closed at unload and at the end of the
process. One found in the user's namespace stays the user's.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any

from aofnb.engine import Session, Store, open_store
from aofnb.errors import AofnbError
from aofnb.magics.parse import MagicError

__all__ = ["Stores"]

_REMEDY = "open one with: %redis --open mydata"


class Stores:
    """Names of opened stores, the one in use, and a session for each store that was ever used."""

    def __init__(self) -> None:
        # By the name or path given; insertion order is the order of opening.
        self._opened: dict[str, Store] = {}
        self._owned: list[Store] = []
        self._current: Store | None = None
        # A session of their own, so that SELECT and MULTI in a cell do not disturb the user's code.
        self._sessions: weakref.WeakKeyDictionary[Store, Session] = weakref.WeakKeyDictionary()

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
        absolute = os.path.abspath(path)
        there = [*self._opened.values(), *_stores_in(namespace).values()]
        store = next((s for s in there if s.path == absolute and s.readonly is readonly and not s.closed), None)
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

    def find(self, name: str | None, namespace: Mapping[str, Any]) -> Store:
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
            store: Store = namespace[next(iter(candidates.values()))]
            return store
        if candidates:
            raise MagicError(f"several stores are open; say which: --store {' | '.join(sorted(candidates.values()))}")
        raise MagicError(f"no store is open; {_REMEDY}")

    def _named(self, name: str, namespace: Mapping[str, Any]) -> Store:
        value = namespace.get(name)
        store = value if isinstance(value, Store) else self._opened.get(name)
        if store is None:
            absolute = os.path.abspath(name)
            by_path = (
                store
                for label, store in self._opened.items()
                if store.path == absolute or os.path.basename(label) == name
            )
            store = next(by_path, None)
        if store is None:
            if name in namespace:
                raise MagicError(f"{name} is a {type(value).__name__}, not a store; {_REMEDY}")
            raise MagicError(f"no store is called {name!r}; {_REMEDY}")
        if store.closed:
            raise MagicError(f"store {name!r} is closed; {_REMEDY}")
        return store

    def name_of(self, store: Store) -> str:
        """What `store` is called in outputs; never its whole path, which differs from machine to machine."""
        for name, opened in reversed(self._opened.items()):
            if opened is store:
                return os.path.basename(os.path.normpath(name))
        return "in memory" if store.path is None else os.path.basename(store.path)

    def session(self, store: Store) -> Session:
        """The session in which cells run on `store`."""
        session = self._sessions.get(store)
        if session is None:
            session = self._sessions[store] = store.session()
        return session

    def peek(self, namespace: Mapping[str, Any]) -> Session | None:
        """The session that a cell would use now, or None; never raises, for completion."""
        try:
            return self.session(self.find(None, namespace))
        except AofnbError:
            return None

    @property
    def current(self) -> Store | None:
        """The store last opened or named here, unless it is closed."""
        return None if self._current is None or self._current.closed else self._current

    def close(self, store: Store) -> None:
        """Close `store` and forget its names."""
        self._opened = {name: opened for name, opened in self._opened.items() if opened is not store}
        self._owned = [owned for owned in self._owned if owned is not store]
        if self._current is store:
            self._current = next((opened for opened in reversed(self._opened.values()) if not opened.closed), None)
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
        self._opened.clear()
        self._current = None
        if problem is not None:
            raise problem


def _parsed(store: Store, setting: str, value: str) -> Any:
    return store.config.setting(setting).parse(value)


def _stores_in(namespace: Mapping[str, Any]) -> dict[str, Store]:
    """Stores in `namespace` by variable name, each once; names that IPython made (``_``, ``_3``) do not count."""
    found: dict[int, tuple[str, Store]] = {}
    for label, value in list(namespace.items()):
        if isinstance(value, Store) and not label.startswith("_"):
            found.setdefault(id(value), (label, value))
    return dict(found.values())
