"""Our connection to Temporal, under the name of the process: the histories say who did what."""

from temporalio.client import Client

from config.settings import Settings
from workflows.payloads import DATA_CONVERTER


async def connect(settings: Settings, process: str, *, lazy: bool = False) -> Client:
    """Raises RuntimeError when Temporal is away; with `lazy` only when it is first asked."""
    return await Client.connect(
        settings.temporal_target,
        namespace=settings.temporal_namespace,
        data_converter=DATA_CONVERTER,
        identity=process,
        lazy=lazy,
    )
