"""Names of the official SDK for what is called otherwise here.

A client that is still being made is already the client, and can be awaited and waited for.
"""

from __future__ import annotations

from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.sampling import SamplingClient
from tinker_nb.client.training import TrainingClient

APIFuture = TinkerFuture
BackcompatSamplingClientFuture = SamplingClient
BackcompatTrainingClientFuture = TrainingClient


class ExperimentalWarning(FutureWarning):
    """The official SDK's warning of what may change, for filters that name it; never given here."""
