"""What a training client and a sampler have in common: what they stand for is still being made."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Self

from tinker_nb.client.futures import TinkerFuture


class Made:
    """A client that can be used at once, and be awaited or waited for until it is there.

    Attributes
    ----------
    created
        The future of what it stands for.
    """

    created: TinkerFuture[Any]

    def result(self, timeout: float | None = None) -> Self:
        """Wait until it is there and return this client.

        Parameters
        ----------
        timeout
            Seconds to wait; for ever when not given.

        Examples
        --------
        >>> client = client.result(timeout=60)
        >>> client = await client.result_async(timeout=60)  # or: await client
        """
        self.created.result(timeout)
        return self

    async def result_async(self, timeout: float | None = None) -> Self:  # noqa: D102  # its twin's
        await self.created.result_async(timeout)
        return self

    result_async.__doc__ = result.__doc__

    def __await__(self) -> Generator[Any, None, Self]:
        return self.result_async().__await__()
