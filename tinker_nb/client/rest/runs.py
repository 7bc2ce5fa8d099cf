"""Operations on training runs, and on what a server has to offer."""

from __future__ import annotations

from tinker_nb.client.exchange import Request
from tinker_nb.client.operations import future_of
from tinker_nb.client.rest.base import RestOperations
from tinker_nb.client.rest.checks import check_page, check_project, check_scope
from tinker_nb.client.rest.paths import run_route, sampler_route, with_query
from tinker_nb.wire.paths import parse_checkpoint_path
from tinker_nb.wire.responses import GetSamplerResponse, GetServerCapabilitiesResponse
from tinker_nb.wire.rest import AccessScope, TrainingRun, TrainingRunsResponse


class RunOperations(RestOperations):
    """Training runs, samplers and models."""

    async def get_server_capabilities_async(self) -> GetServerCapabilitiesResponse:
        """Return the models the server has.

        Examples
        --------
        >>> rest.get_server_capabilities().result().supported_models
        >>> (await rest.get_server_capabilities_async()).supported_models
        """
        request = Request("GET", "/api/v1/get_server_capabilities")
        return await self._ask("get_server_capabilities", request, GetServerCapabilitiesResponse)

    get_server_capabilities = future_of(get_server_capabilities_async)

    async def get_training_run_async(
        self, training_run_id: str, access_scope: AccessScope = "owned"
    ) -> TrainingRun:
        """Return what is known of a training run.

        Parameters
        ----------
        training_run_id
            The run, which is the ``model_id`` of its training client.
        access_scope
            ``"owned"`` by you, or ``"accessible"`` to you.

        Examples
        --------
        >>> rest.get_training_run("SESSION:train:0").result().base_model
        >>> (await rest.get_training_run_async("SESSION:train:0")).base_model
        """
        return await self._run("get_training_run", training_run_id, access_scope)

    get_training_run = future_of(get_training_run_async)

    async def get_training_run_by_tinker_path_async(
        self, tinker_path: str, access_scope: AccessScope = "owned"
    ) -> TrainingRun:
        """Return what is known of the training run a checkpoint comes from.

        Parameters
        ----------
        tinker_path
            The checkpoint.
        access_scope
            ``"owned"`` by you, or ``"accessible"`` to you.

        Examples
        --------
        >>> rest.get_training_run_by_tinker_path("tinker://RUN/weights/step-1").result()
        >>> await rest.get_training_run_by_tinker_path_async("tinker://RUN/weights/step-1")
        """
        run = parse_checkpoint_path(tinker_path).run
        return await self._run("get_training_run_by_tinker_path", run, access_scope)

    get_training_run_by_tinker_path = future_of(get_training_run_by_tinker_path_async)

    async def list_training_runs_async(
        self,
        limit: int = 20,
        offset: int = 0,
        access_scope: AccessScope = "owned",
        project_id: str | None = None,
    ) -> TrainingRunsResponse:
        """Return one page of the list of training runs.

        Parameters
        ----------
        limit, offset
            How many, and how many to leave out before them.
        access_scope
            Those ``"owned"`` by you, or ``"accessible"`` to you.
        project_id
            Only those of a project.

        Examples
        --------
        >>> rest.list_training_runs(limit=50).result().training_runs
        >>> (await rest.list_training_runs_async(limit=50)).training_runs
        """
        check_page(limit, offset)
        check_scope(access_scope)
        if project_id is not None:
            check_project(project_id)
        path = with_query(
            "/api/v1/training_runs",
            limit=limit,
            offset=offset,
            access_scope=access_scope,
            project_id=project_id,
        )
        return await self._ask("list_training_runs", Request("GET", path), TrainingRunsResponse)

    list_training_runs = future_of(list_training_runs_async)

    async def get_sampler_async(self, sampler_id: str) -> GetSamplerResponse:
        """Return what a sampler samples from.

        Parameters
        ----------
        sampler_id
            The sampler, which is the id of a sampling session.

        Examples
        --------
        >>> rest.get_sampler("SESSION:sample:0").result().base_model
        >>> (await rest.get_sampler_async("SESSION:sample:0")).base_model
        """
        request = Request("GET", sampler_route(sampler_id))
        return await self._ask("get_sampler", request, GetSamplerResponse)

    get_sampler = future_of(get_sampler_async)

    async def _run(self, operation: str, run: str, access_scope: AccessScope) -> TrainingRun:
        check_scope(access_scope)
        path = with_query(run_route(run), access_scope=access_scope)
        return await self._ask(operation, Request("GET", path), TrainingRun)
