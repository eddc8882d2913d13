"""Our connection to Temporal, under the name of the process: the histories say who did what."""

from temporalio.client import Client

from config.settings import Settings
from workflow_api.payloads import DATA_CONVERTER


async def connect(settings: Settings, process: str, *, lazy: bool = False) -> Client:
    """To the orders. Raises RuntimeError when Temporal is away; with `lazy` only when it is first asked."""
    return await _connect(settings, process, settings.temporal_namespace, lazy)


async def connect_operations(settings: Settings, process: str, *, lazy: bool = False) -> Client:
    """To what is done by the clock or for the risk desk, apart from the orders."""
    return await _connect(settings, process, settings.temporal_operations_namespace, lazy)


async def _connect(settings: Settings, process: str, namespace: str, lazy: bool) -> Client:
    return await Client.connect(
        settings.temporal_target,
        namespace=namespace,
        data_converter=DATA_CONVERTER,
        identity=process,
        lazy=lazy,
    )
