"""Write docs/settings.md: every setting, its default, and what it does here.

    python docs/make_settings.py

A test checks that the page agrees with the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aofnb.config import ALIASES, SETTINGS, Setting
from aofnb.config_server import FIXED, KEPT, SERVER_ALIASES, SERVER_SETTINGS

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).with_name("settings.md")


def _row(setting: Setting, *more: str) -> str:
    cells = (f"`{setting.name}`", f"`{setting.format(setting.default)}`" if setting.default != "" else "", *more)
    return f"| {' | '.join(cells)} |"


def _lines() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "CONFIG GET shows every setting of redis-server 7.0.15 under its name. Written by `docs/make_settings.py`."
    yield ""
    yield "## With effect"
    yield ""
    yield "Given to `aofnb.open` (with `_` for `-`), in a redis.conf, by `aofnb serve --name value`, and by CONFIG SET"
    yield "unless the last column says otherwise."
    yield ""
    yield "| setting | default | CONFIG SET |"
    yield "| --- | --- | --- |"
    for setting in sorted(SETTINGS.values(), key=lambda setting: setting.name):
        if not setting.hidden:
            yield _row(setting, "no" if not setting.runtime or setting.protected else "")
    yield ""
    yield "## Kept, without effect"
    yield ""
    yield "What they are about is switched off, or needs no help here: a cluster, being a replica, TLS, the allocator,"
    yield "compressing lists in memory, crash reports. Any value that redis-server takes is kept and shown, and CONFIG"
    yield "REWRITE writes it."
    yield ""
    yield ", ".join(f"`{name}`" for name in KEPT) + "."
    yield ""
    yield "## Fixed"
    yield ""
    yield "Another value would do something on a server and does nothing here, so CONFIG SET refuses it. Those about a"
    yield "listener, signals and the log can be set where a server has them."
    yield ""
    yield "| setting | value | why |"
    yield "| --- | --- | --- |"
    for name, why in sorted(FIXED.items()):
        if SERVER_SETTINGS[name].runtime:
            yield _row(SERVER_SETTINGS[name], why)
    yield ""
    yield "## Of a start"
    yield ""
    yield "No server changes these while it runs: "
    yield ", ".join(f"`{name}`" for name, setting in SERVER_SETTINGS.items() if not setting.runtime) + "."
    yield ""
    yield "## Older names"
    yield ""
    yield ", ".join(f"`{old}` for `{new}`" for old, new in sorted((ALIASES | SERVER_ALIASES).items())) + "."


def page() -> str:
    """The text of the page."""
    return "\n".join(_lines()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
