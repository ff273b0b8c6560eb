"""CONFIG SET and CONFIG REWRITE: settings that change while the store is open, and the file they are kept in.

Redis: config.c configSetCommand, rewriteConfig (7.0.15).
"""

from __future__ import annotations

import errno
import fnmatch
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aofnb.commands.messages import error
from aofnb.config import Config, Setting
from aofnb.config_file import ConfigFile
from aofnb.config_server import FIXED, SERVER_ALIASES, SERVER_SETTINGS, server_setting
from aofnb.errors import ConfigError, ReplyError

__all__ = ["Settings"]

_log = logging.getLogger("aofnb")


class Settings:
    """Changes settings, all that are given or none.

    Attributes
    ----------
    on_change : dict
        By name of a setting: called when it has changed, before anyone is answered. A ConfigError says that the new
        value cannot be; then all values are as before.
    file : ConfigFile or None
        What CONFIG REWRITE writes to.
    server : dict
        By name in `SERVER_SETTINGS`: what holds of the server that the store is behind, if there is one. Whoever
        serves the store says what is so (`serve`), and with `on_change` what can be made otherwise.
    users : callable
        Gives the lines of users that belong into that file.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.on_change: dict[str, Callable[[], None]] = {}
        self.file: ConfigFile | None = None
        self.users: Callable[[], Sequence[str]] = tuple
        self.server: dict[str, Any] = {}
        # Those of them that CONFIG SET has changed, which the file does not say yet.
        self._changed_server: set[str] = set()
        self.serve({})

    def serve(self, given: Mapping[str, Any]) -> None:
        """`given` is so of the server that the store is behind now, and what it does not name is as by default."""
        self.server = {name: setting.default for name, setting in SERVER_SETTINGS.items()} | dict(given)

    def matching(self, pattern: str) -> dict[str, str]:
        """Name and text of each setting that the glob `pattern` matches, or that it names."""
        found = self.config.matching(pattern)
        wanted = pattern.lower()
        if not any(special in wanted for special in "*?["):
            setting = server_setting(wanted)
            return found if setting is None else {pattern: self._text(setting)}
        glob = wanted.replace("[^", "[!")
        names = [name for name in (*SERVER_SETTINGS, *SERVER_ALIASES) if fnmatch.fnmatchcase(name, glob)]
        return found | {name: self._text(SERVER_SETTINGS[SERVER_ALIASES.get(name, name)]) for name in names}

    def _text(self, setting: Setting) -> str:
        return setting.format(self._value(setting))

    def _value(self, setting: Setting) -> Any:
        if setting.name in SERVER_SETTINGS:
            return self.server[setting.name]
        return getattr(self.config, setting.attribute)

    def _put(self, setting: Setting, value: Any) -> None:
        if setting.name in SERVER_SETTINGS:
            self.server[setting.name] = value
        else:
            setattr(self.config, setting.attribute, value)

    def _named(self, name: str) -> Setting:
        """The setting called `name`; raises ReplyError."""
        setting = server_setting(name)
        if setting is not None:
            return setting
        try:
            return self.config.setting(name)
        except ConfigError:
            shown = name.partition("\0")[0]
            raise error(f"ERR Unknown option or number of arguments for CONFIG SET - '{shown}'") from None

    def set(self, given: Sequence[tuple[str, str]]) -> None:
        """Apply all of `given`, names and values, or none.

        Raises
        ------
        ReplyError
            With the words of redis-server, naming the setting at fault.
        """
        # As there, names are looked at before any value.
        known: dict[str, tuple[Setting, str]] = {}
        for name, text in given:
            setting = self._named(name)
            if not setting.runtime:
                raise _failed(name, "can't set immutable config")
            if setting.protected:
                raise _failed(name, "can't set protected config")
            if name.lower() in known:
                raise _failed(name, "duplicate parameter")
            known[name.lower()] = setting, text
        values: list[tuple[Setting, object]] = []
        for name, (setting, text) in known.items():
            try:
                value = setting.parse(text)
            except ConfigError as problem:
                raise _failed(name, str(problem)) from None
            if setting.name in FIXED and setting.name not in self.on_change and value != self._value(setting):
                raise _failed(name, FIXED[setting.name])
            values.append((setting, value))
        self._apply(values)

    def _apply(self, values: list[tuple[Setting, object]]) -> None:
        before = [(setting, self._value(setting)) for setting, _ in values]
        changed = [setting for (setting, value), (_, old) in zip(values, before, strict=True) if value != old]
        for setting, value in values:
            self._put(setting, value)
        for number, setting in enumerate(changed):
            try:
                self.on_change.get(setting.name, _nothing)()
            except ConfigError as problem:
                for old_setting, old in before:
                    self._put(old_setting, old)
                for undone in changed[:number]:
                    # What could be as it was a moment ago can be so again; if not, that is told where it shows.
                    with suppress(ConfigError):
                        self.on_change.get(undone.name, _nothing)()
                raise _failed(setting.name, str(problem)) from problem
        self._changed_server.update(setting.name for setting in changed if setting.name in SERVER_SETTINGS)

    def rewrite_everything(self) -> None:
        """DEBUG CONFIG-REWRITE-FORCE-ALL: as CONFIG REWRITE, with all settings in the file, defaults too.

        Raises
        ------
        ReplyError
            There is no file, or it cannot be written.
        """
        if self.file is None:
            raise ReplyError(f"ERR CONFIG-REWRITE-FORCE-ALL failed: {os.strerror(errno.EFAULT)}")
        try:
            self.file.rewrite(self.config, self.users(), self.server, everything=True)
        except OSError as problem:
            raise ReplyError(f"ERR CONFIG-REWRITE-FORCE-ALL failed: {problem.strerror}") from problem

    def rewrite(self) -> None:
        """CONFIG REWRITE: bring the settings file up to date.

        Raises
        ------
        ReplyError
            There is none, or it cannot be written.
        """
        if self.file is None:
            raise ReplyError("ERR The server is running without a config file")
        try:
            changed = {name: self.server[name] for name in sorted(self._changed_server)}
            self.file.rewrite(self.config, self.users(), changed)
        except OSError as problem:
            _log.warning("CONFIG REWRITE failed: %s", problem)
            raise ReplyError(f"ERR Rewriting config file: {problem.strerror}") from problem
        _log.info("CONFIG REWRITE executed with success.")


def _nothing() -> None:
    """For settings that are asked for whenever they matter."""


def _failed(name: str, why: str) -> ReplyError:
    return ReplyError(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
