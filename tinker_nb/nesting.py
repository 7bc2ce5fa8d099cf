"""Nested event loops, for ported scripts that call ``asyncio.run`` in a cell."""

from __future__ import annotations

from importlib.metadata import version

from tinker_nb.errors import ConfigurationError

_NEEDED = (1, 7, 3)


def allow_nested_loops() -> None:
    """Let ``asyncio.run(main())`` run inside a running loop, as ported scripts do.

    Uses nest-asyncio2, the maintained continuation of nest-asyncio. Versions before 1.7.3, and
    nest-asyncio itself, silently lose queued cells on ipykernel 7 and are refused.

    Raises
    ------
    ConfigurationError
        The installed version is too old.
    """
    import nest_asyncio2

    found = version("nest-asyncio2")
    if tuple(int(part) for part in found.split(".")[:3] if part.isdigit()) < _NEEDED:
        raise ConfigurationError(
            f"nest-asyncio2 {found} loses queued cells.",
            advice='Install a newer one: pip install "nest-asyncio2>=1.7.3".',
        )
    nest_asyncio2.apply()
