"""The socket the server listens at."""

from __future__ import annotations

import socket

from tinker_nb.errors import ConfigurationError


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; `ConfigurationError` when the address cannot be had."""
    try:
        return _bound(host, port)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"Cannot listen at {host} port {port}: {error}.") from error


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is spelt out, and with it on
    # every second answer of a connection waits 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(2048)
    except BaseException:
        bound.close()
        raise
    return bound
