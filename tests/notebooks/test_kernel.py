"""The magics in a kernel of its own, as a notebook server runs it: what the stop button does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.require import need_module

jupyter_client = need_module("jupyter_client")
need_module("ipykernel")

_TIMEOUT_S = 60
# Says so as soon as a command waits: only then is there something to stop.
WATCH = """
%load_ext aofnb
%redis --open data -o store
import threading, time
def watch():
    while "blocked_clients:1" not in str(store.execute("INFO", "clients")):
        time.sleep(0.01)
    print("it waits", flush=True)
watcher = threading.Thread(target=watch)
watcher.start()
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Any]:
    manager, client = jupyter_client.manager.start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    try:
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def value_of(client: Any, code: str) -> str:
    """What the expression is, in the kernel."""
    expressions = client.execute_interactive(
        "", user_expressions={"it": code}, timeout=_TIMEOUT_S, output_hook=lambda _: None
    )["content"]["user_expressions"]
    return str(expressions["it"]["data"]["text/plain"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell", ["%%redis\nSET before 1\nBLPOP nothing 600\nSET behind 1", "%redis BLPOP nothing 600", "%redis WAIT 1 600000"]
)
def test_the_stop_button_ends_a_wait_and_nothing_else(kernel: Any, cell: str) -> None:
    """What stands in front of it in the cell has run, what stands behind it has not, and the store goes on."""
    manager, client = kernel
    assert client.execute_interactive(WATCH, timeout=_TIMEOUT_S)["content"]["status"] == "ok"
    # Or the kernel throws away what is asked right behind an error.
    sent = client.execute(cell, stop_on_error=False)
    while "it waits" not in client.get_iopub_msg(timeout=_TIMEOUT_S)["content"].get("text", ""):
        pass
    manager.interrupt_kernel()
    while (reply := client.get_shell_msg(timeout=_TIMEOUT_S))["parent_header"].get("msg_id") != sent:
        pass
    assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "KeyboardInterrupt")
    assert value_of(client, "watcher.join()") == "None"
    assert value_of(client, "store.execute('KEYS', '*')") == ("[b'before']" if "before" in cell else "[]")
    assert value_of(client, "'blocked_clients:0' in str(store.execute('INFO', 'clients'))") == "True"
    assert value_of(client, "store.close()") == "None"
