"""The operations of a training client that save weights and load them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from tinker_nb.client import calls
from tinker_nb.client.checks import check_model_path, check_ttl
from tinker_nb.client.operations import Call, asynchronous, blocking
from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.paths import check_name
from tinker_nb.wire.requests import (
    LoadWeightsRequest,
    SaveWeightsExternalRequest,
    SaveWeightsForSamplerRequest,
    SaveWeightsRequest,
)
from tinker_nb.wire.results import (
    LoadWeightsResponse,
    SaveWeightsExternalResponse,
    SaveWeightsForSamplerResponse,
    SaveWeightsResponse,
)

_MOST_RECIPIENTS = 10


class SavesWeights:
    """What a training client can do with its weights; each operation is defined once."""

    def _save_state(
        self,
        name: str,
        ttl_seconds: int | None = None,
        overwrite: bool = False,
        user_metadata: dict[str, str] | None = None,
    ) -> Call[SaveWeightsResponse]:
        """Save weights and optimizer state under a name, to train on from.

        Parameters
        ----------
        name
            Letters, digits, dot, dash and underscore.
        ttl_seconds
            How long the server keeps them, one hour to ten years; for ever when not given.
        overwrite
            Whether a checkpoint of that name is replaced.
        user_metadata
            Kept beside them.

        Returns
        -------
        TinkerFuture[SaveWeightsResponse]
            ``path`` is ``tinker://RUN/weights/NAME``.

        Raises
        ------
        InvalidInputError
            No such name can be; nothing was sent.

        Examples
        --------
        >>> path = training.save_state("step-10").result().path
        >>> path = (await (await training.save_state_async("step-10"))).path
        """
        return calls.of_model(
            "SaveWeights",
            SaveWeightsRequest,
            path=check_name(name),
            ttl_seconds=check_ttl(ttl_seconds),
            overwrite=overwrite,
            user_metadata=user_metadata,
        )

    def _load_state(
        self, path: str, weights_access_token: str | SecretStr | None = None
    ) -> Call[LoadWeightsResponse]:
        """Load a checkpoint's weights into this model; the optimizer starts anew.

        The official SDK advises `ServiceClient.create_training_client_from_state` instead, which
        also takes over the checkpoint's adapter settings.

        Parameters
        ----------
        path
            ``tinker://RUN/weights/NAME``.
        weights_access_token
            Opens weights of another account.

        Examples
        --------
        >>> training.load_state("tinker://RUN/weights/step-10").result()
        >>> await (await training.load_state_async("tinker://RUN/weights/step-10"))
        """
        return _load(path, weights_access_token, optimizer=False)

    def _load_state_with_optimizer(
        self, path: str, weights_access_token: str | SecretStr | None = None
    ) -> Call[LoadWeightsResponse]:
        """Load a checkpoint's weights and its optimizer state into this model.

        Takes and gives what `load_state` does.

        Examples
        --------
        >>> training.load_state_with_optimizer("tinker://RUN/weights/step-10").result()
        >>> await (await training.load_state_with_optimizer_async("tinker://RUN/weights/step-10"))
        """
        return _load(path, weights_access_token, optimizer=True)

    def _save_weights_for_sampler(
        self,
        name: str,
        ttl_seconds: int | None = None,
        user_metadata: dict[str, str] | None = None,
    ) -> Call[SaveWeightsForSamplerResponse]:
        """Save the weights under a name, to sample from.

        Parameters
        ----------
        name
            Letters, digits, dot, dash and underscore.
        ttl_seconds
            How long the server keeps them, one hour to ten years; for ever when not given.
        user_metadata
            Kept beside them.

        Returns
        -------
        TinkerFuture[SaveWeightsForSamplerResponse]
            ``path`` is ``tinker://RUN/sampler_weights/NAME``.

        Examples
        --------
        >>> path = training.save_weights_for_sampler("step-10").result().path
        >>> path = (await (await training.save_weights_for_sampler_async("step-10"))).path
        """
        return calls.of_model(
            "SaveWeightsForSampler",
            SaveWeightsForSamplerRequest,
            path=check_name(name),
            ttl_seconds=check_ttl(ttl_seconds),
            user_metadata=user_metadata,
        )

    def _save_weights_external(
        self,
        name: str,
        ttl_seconds: int | None = None,
        age_encryption_recipients: Sequence[str] | None = None,
    ) -> Call[SaveWeightsExternalResponse]:
        """Export the weights as files, to download with `RestClient.download_checkpoint`.

        Parameters
        ----------
        name
            Letters, digits, dot, dash and underscore.
        ttl_seconds
            How long the server keeps them, one hour to ten years; for ever when not given.
        age_encryption_recipients
            Public keys of ``age``; at most ten. The files are readable by all when not given.

        Returns
        -------
        TinkerFuture[SaveWeightsExternalResponse]
            ``path`` is ``tinker://RUN/external_weights/NAME``.

        Examples
        --------
        >>> path = training.save_weights_external("final").result().path
        >>> path = (await (await training.save_weights_external_async("final"))).path
        """
        return calls.of_model(
            "SaveWeightsExternal",
            SaveWeightsExternalRequest,
            path=check_name(name),
            ttl_seconds=check_ttl(ttl_seconds),
            age_encryption_recipients=_checked(age_encryption_recipients),
        )

    save_state = blocking(_save_state)
    save_state_async = asynchronous(_save_state)
    load_state = blocking(_load_state)
    load_state_async = asynchronous(_load_state)
    load_state_with_optimizer = blocking(_load_state_with_optimizer)
    load_state_with_optimizer_async = asynchronous(_load_state_with_optimizer)
    save_weights_for_sampler = blocking(_save_weights_for_sampler)
    save_weights_for_sampler_async = asynchronous(_save_weights_for_sampler)
    save_weights_external = blocking(_save_weights_external)
    save_weights_external_async = asynchronous(_save_weights_external)


def _checked(recipients: Sequence[str] | None) -> list[str] | None:
    """Return whom files are encrypted for; raises `InvalidInputError`."""
    if recipients is None:
        return None
    if isinstance(recipients, str):
        # Its letters would be taken for keys.
        raise InvalidInputError("age_encryption_recipients is a list of keys, not one text.")
    if len(recipients) > _MOST_RECIPIENTS:
        raise InvalidInputError(
            f"There may be {_MOST_RECIPIENTS} recipients at most, not {len(recipients)}."
        )
    return list(recipients)


def _load(path: str, token: str | SecretStr | None, *, optimizer: bool) -> Call[Any]:
    return calls.of_model(
        "LoadWeights",
        LoadWeightsRequest,
        operation="load_state_with_optimizer" if optimizer else "load_state",
        path=check_model_path(path),
        optimizer=optimizer,
        weights_access_token=calls.sealed(token),
    )
