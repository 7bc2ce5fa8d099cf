"""``%tinker_connect``: which server the notebook works with. Also the settings."""

from __future__ import annotations

import argparse
import os
import threading
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from pydantic import SecretStr
from traitlets import Bool, Int, observe

from tinker_nb.errors import ConfigurationError
from tinker_nb.nesting import allow_nested_loops
from tinker_nb.notebook.connection import Connection, connect_embedded, connect_to
from tinker_nb.notebook.handles import Handle
from tinker_nb.notebook.magics.mistakes import plain_mistakes
from tinker_nb.notebook.state import NotebookState


@magics_class
class TinkerMagics(Magics):
    """Connection and settings."""

    nest = Bool(
        False,
        help="Let code that calls asyncio.run() run in a cell (nested event loops). "
        "Once on, it stays on until the kernel restarts.",
    ).tag(config=True)
    rank = Int(32, help="Rank of a new LoRA model when %tinker_lora names none.").tag(config=True)

    def __init__(self, shell: Any, state: NotebookState) -> None:
        super().__init__(shell)
        self.state = state

    @observe("nest")
    def _nest_changed(self, change: Any) -> None:
        if change["new"]:
            allow_nested_loops()

    @magic_arguments()
    @argument("url", nargs="?", help="The server; the embedded one is started when not given.")
    @argument("--key-env", metavar="NAME", help="Name of the variable that holds the server's key.")
    @argument("--model", help="Model to work with: tiny-chat, a directory, or a name.")
    @argument("--data-dir", help="Where the embedded server keeps runs and checkpoints.")
    @line_magic
    @plain_mistakes
    def tinker_connect(self, line: str) -> Handle[str]:
        """Connect to a Tinker server; the cell returns at once.

        Without a URL the embedded server is started in the background; it stops with the kernel.
        """
        arguments = parse_argstring(self.tinker_connect, line)
        self.state.connect(self._connection(arguments))
        note = f"asking {arguments.url}" if arguments.url else "starting the embedded server"
        future = self.state.run_aside("Connect", self.state.connection.describe(), note)
        service = self.state.connection.service
        return self.state.launch(
            future, title="connect", client=service, describe=lambda shown: str(shown.result)
        )

    def _connection(self, arguments: argparse.Namespace) -> Connection:
        """Return the connection, and leave the one before in the background."""
        leave = self.state.leaving()
        if arguments.url is None:
            return connect_embedded(arguments.model or "tiny-chat", arguments.data_dir, leave)
        connection = connect_to(arguments.url, _key(arguments.key_env), arguments.model)
        threading.Thread(target=leave, name="tinker_nb-leave", daemon=True).start()
        return connection


def _key(variable: str | None) -> SecretStr | None:
    if variable is None:
        return None
    if variable not in os.environ:
        raise ConfigurationError(
            "--key-env takes the name of an environment variable, and no such one is set."
        )
    return SecretStr(os.environ[variable])
