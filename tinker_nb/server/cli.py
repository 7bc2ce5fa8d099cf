"""The command line. Nothing heavy is imported until the server is really started."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from pydantic import SecretStr

from tinker_nb.errors import ConfigurationError
from tinker_nb.server.config import TINY_CHAT, Settings
from tinker_nb.server.engine.finding import find_model
from tinker_nb.server.security import is_loopback, new_key
from tinker_nb.server.sockets import listen
from tinker_nb.server.store.home import Home, enter_default_home, enter_home

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinker_nb.server.house import House

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main_help() -> None:
    """Fine-tune language models from a notebook; this command starts the embedded server."""


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 0,
    model: Annotated[
        str, typer.Option(help=f"{TINY_CHAT}, a Hugging Face directory, or a hub name.")
    ] = TINY_CHAT,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where runs and checkpoints are kept.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Variable that holds the key; a random one if not given.")
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask for no key; on loopback addresses only.")
    ] = False,
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", help="Stop when stdin ends.")
    ] = False,
) -> None:
    """Start the embedded server."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        key = _key(api_key_env, host, no_auth=no_auth)
        home = _home(data_dir)
        settings = Settings(data_dir=home.directory, model=model, api_key=key)
        random_key = not no_auth and api_key_env is None
        _run(settings, home, (host, port), random_key, until_stdin_closes)
    except ConfigurationError as error:
        _refuse(error.message)


def _refuse(message: str) -> NoReturn:
    typer.echo(f"tinker-nb: {message}", err=True)
    raise typer.Exit(2)


def _key(variable: str | None, host: str, *, no_auth: bool) -> SecretStr | None:
    if no_auth:
        if variable is not None:
            raise ConfigurationError("--no-auth and --api-key-env exclude each other.")
        if not is_loopback(host):
            raise ConfigurationError(f"--no-auth is for loopback addresses only, not {host}.")
        return None
    if variable is None:
        return new_key()
    if not os.environ.get(variable):
        raise ConfigurationError(f"The variable {variable} is not set; it should hold the key.")
    return SecretStr(os.environ[variable])


def _home(data_dir: Path | None) -> Home:
    if data_dir is not None:
        return enter_home(data_dir.expanduser().absolute())
    from platformdirs import user_data_dir

    return enter_default_home(Path(user_data_dir("tinker_nb")) / "server")


def _run(
    settings: Settings,
    home: Home,
    address: tuple[str, int],
    random_key: bool,
    until_stdin_closes: bool,
) -> None:
    hint = ""
    if random_key and settings.api_key is not None:
        hint = f" (key in {home.write_key(settings.api_key)})"
    find_model(settings.model)
    with listen(*address) as bound:
        house, serve = _open(settings, home)
        line = f"tinker-nb is ready at {_url(*bound.getsockname()[:2])}{hint}"
        serve(house, bound, lambda: typer.echo(line), until_stdin_closes=until_stdin_closes)


def _open(settings: Settings, home: Home) -> tuple[House, Callable[..., None]]:
    """Load everything heavy, now that what is cheap to check was found right."""
    # Read once, when torch is loaded: threads that wait sleep instead of spinning. Beside another
    # busy process (a notebook's kernel, a browser) a training step is several times faster so.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from tinker_nb.server.house import open_house
    from tinker_nb.server.serving import serve

    return open_house(settings, home), serve


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
