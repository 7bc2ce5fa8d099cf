"""The operations of a training client that compute losses and take steps, each defined once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from tinker_nb.client import calls
from tinker_nb.client.checks import check_examples
from tinker_nb.client.custom_call import FirstAndThen, custom_call, handle_call
from tinker_nb.client.custom_loss import CustomLoss
from tinker_nb.client.dialects.official import Dialect
from tinker_nb.client.loss_handles import LossHandle
from tinker_nb.client.operations import Call, asynchronous, blocking
from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.data import Datum
from tinker_nb.wire.losses import LossConfig
from tinker_nb.wire.params import AdamParams, DimuonParams
from tinker_nb.wire.requests import OptimStepRequest
from tinker_nb.wire.results import ForwardBackwardOutput, OptimStepResponse

if TYPE_CHECKING:
    from tinker_nb.client.service import ServiceClient


class Learns:
    """What a training client can do to learn."""

    _service: ServiceClient

    def _known_dialect(self) -> Dialect | None:
        """Return how the server is spoken to, when that is known already."""
        raise NotImplementedError

    def _forward_backward(
        self, data: calls.Examples, loss_fn: str, loss_fn_config: LossConfig | None = None
    ) -> Call[ForwardBackwardOutput]:
        """Compute the loss and add its gradients to those waiting for `optim_step`.

        Parameters
        ----------
        data
            Examples; see `Datum` for how tokens and targets line up. Conversations for a server
            that takes chat. Much data travels in several requests, and comes back as one.
        loss_fn
            ``cross_entropy``, ``importance_sampling``, ``ppo``, ``cispo`` or ``dro``; all are sums
            over tokens. Some servers have others, and some not all of these.
        loss_fn_config
            The loss's settings, such as ``clip_low_threshold``.

        Returns
        -------
        TinkerFuture[ForwardBackwardOutput]
            Log-probabilities per datum, and metrics such as ``loss:sum``.

        Raises
        ------
        InvalidInputError
            The data do not fit the loss; nothing was sent.

        Examples
        --------
        >>> output = training.forward_backward(data, "cross_entropy").result()
        >>> output = await (await training.forward_backward_async(data, "cross_entropy"))
        """
        check_examples(data, loss_fn, loss_fn_config, self._known_dialect())
        source = _kept(data)
        return calls.forward_backward(source, loss_fn, loss_fn_config, forward_only=False)

    def _forward(
        self, data: calls.Examples, loss_fn: str, loss_fn_config: LossConfig | None = None
    ) -> Call[ForwardBackwardOutput]:
        """Compute the loss without gradients.

        Takes and gives what `forward_backward` does.

        Examples
        --------
        >>> output = training.forward(data, "cross_entropy").result()
        >>> output = await (await training.forward_async(data, "cross_entropy"))
        """
        check_examples(data, loss_fn, loss_fn_config, self._known_dialect())
        source = _kept(data)
        return calls.forward_backward(source, loss_fn, loss_fn_config, forward_only=True)

    def _optim_step(
        self,
        optim_params: AdamParams | DimuonParams | None = None,
        *,
        adam_params: AdamParams | None = None,
    ) -> Call[OptimStepResponse]:
        """Apply the waiting gradients in one step of the optimizer, and clear them.

        Parameters
        ----------
        optim_params
            The step's parameters; the protocol's defaults of AdamW when not given.
        adam_params
            An older name of the same.

        Returns
        -------
        TinkerFuture[OptimStepResponse]
            Metrics, as the server names them.

        Examples
        --------
        >>> training.optim_step(AdamParams(learning_rate=1e-3)).result()
        >>> await (await training.optim_step_async(AdamParams(learning_rate=1e-3)))
        """
        if optim_params is not None and adam_params is not None:
            raise InvalidInputError("Give optim_params or adam_params, not both.")
        params = optim_params or adam_params or AdamParams()
        body: dict[str, Any] = {"adam_params": params}
        if isinstance(params, DimuonParams):
            body = {"adam_params": None, "optimizer_params": params}
        return calls.of_model("OptimStep", OptimStepRequest, **body)

    def _forward_backward_custom(
        self,
        data: Sequence[Datum],
        loss_fn: CustomLoss | LossHandle,
        *,
        loss_type_input: Literal["logprobs"] | None = None,
        with_gradients: bool = False,
    ) -> FirstAndThen[ForwardBackwardOutput, ForwardBackwardOutput]:
        """Compute a loss of your own over log-probabilities, and its gradients.

        The server computes the log-probabilities, your function the loss of them on this side, and
        the server the gradients: two calls that stand together in the order. Your function runs in
        a thread of its own.

        Parameters
        ----------
        data
            Examples with ``target_tokens``; your function sees all their inputs.
        loss_fn
            Called with the data and a list of log-probabilities, one tensor per datum in the shape
            of its ``target_tokens``. It returns ``(loss, metrics)``, with a torch loss to
            differentiate. Or a `LossHandle` of `ServiceClient.create_custom_loss`.
        loss_type_input
            The official SDK has it; ``"logprobs"`` is the only choice.
        with_gradients
            Without torch: your function gets NumPy arrays, and returns
            ``(loss, gradients, metrics)``, one gradient per datum.

        Returns
        -------
        TinkerFuture[ForwardBackwardOutput]
            As `forward_backward` gives it; your metrics are among the metrics, and the surrogate's
            loss is ``surrogate_loss:sum``.

        Raises
        ------
        InvalidInputError
            The data do not fit, or your function failed; no gradients were added then.

        Examples
        --------
        >>> def loss(data, logprobs):
        ...     total = -sum(each.sum() for each in logprobs)
        ...     return total, {"nll": float(total)}
        >>> output = training.forward_backward_custom(data, loss).result()
        >>> output = await (await training.forward_backward_custom_async(data, loss))
        """
        if loss_type_input not in (None, "logprobs"):
            raise InvalidInputError(f"loss_type_input is 'logprobs', not {loss_type_input!r}.")
        if isinstance(loss_fn, LossHandle):
            if with_gradients:
                raise InvalidInputError("A LossHandle is differentiated by torch alone.")
            # One call or two; both are started in the same way.
            call = handle_call(list(data), loss_fn, self._service.session.session_id)
            return cast("FirstAndThen[ForwardBackwardOutput, ForwardBackwardOutput]", call)
        return custom_call(list(data), loss_fn, with_gradients=with_gradients)

    forward_backward = blocking(_forward_backward)
    forward_backward_async = asynchronous(_forward_backward)
    forward = blocking(_forward)
    forward_async = asynchronous(_forward)
    optim_step = blocking(_optim_step)
    optim_step_async = asynchronous(_optim_step)
    forward_backward_custom = blocking(_forward_backward_custom)
    forward_backward_custom_async = asynchronous(_forward_backward_custom)


def _kept(data: calls.Examples) -> calls.Source[calls.Examples]:
    """Return the data as they are now, whatever the caller does to the list."""
    now: calls.Examples = list(data)  # type: ignore[assignment]  # one kind or the other
    return calls.at_hand(now)
