"""The served OpenAPI document against the served API: whatever schemathesis sends, the answer is documented.

Seeded, so that a failure comes again; the bounds keep it near a minute. That an order of the right shape may
still be refused is the business of the gates, so acceptance of every well-formed body is not asked for.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from api.app import create_app
from api.problems import ProblemCode
from config.settings import Settings
from domain.rejects import RejectCode
from tests.support.clients import an_order
from tests.support.edge import start, until

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
BOUNDS = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
A_GOOD_ORDER: dict[str, Any] = {
    "instrument_id": "NSE:RELIANCE",
    "order_type": "MARKET",
    "quantity": 1,
    "price": None,
    "trigger_price": None,
}
STABLE = {*ProblemCode, *RejectCode}
DOCUMENT = create_app(Settings()).openapi()
described = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def api(servers: Settings) -> Iterator[str]:
    """The API as it runs: its own process, behind its own port."""
    url = f"http://{servers.host}:{servers.port('api')}"
    process = start(servers, "from workers.api import main; main()")
    until(lambda: _answers(f"{url}/readyz"))
    yield url
    process.terminate()
    process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def token(api: str) -> str:
    signed_in = httpx.post(f"{api}/api/v1/session", json={"client_id": "DEMO0061", "password": "demo"})
    return str(signed_in.json()["access_token"])


def test_the_document_is_the_served_one(api: str) -> None:
    assert httpx.get(f"{api}/openapi.json").json() == DOCUMENT


@described.parametrize()
@settings(BOUNDS)
def test_every_answer_is_one_that_the_document_describes(
    case: schemathesis.Case[Any], api: str, token: str
) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    answer = case.call_and_validate(base_url=api, checks=CHECKS, headers=headers)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == ["application/problem+json"]
        assert answer.json()["code"] in STABLE


@pytest.fixture(scope="module")
def order_id(api: str, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"}
    return str(httpx.post(f"{api}/api/v1/orders", json=an_order(), headers=headers).json()["order_id"])


@described.include(path_regex="^/api/v1/orders", method=["GET", "POST"]).parametrize()
@settings(BOUNDS)
def test_so_is_every_answer_about_an_instrument_and_an_order_that_exist(
    case: schemathesis.Case[Any], api: str, token: str, order_id: str
) -> None:
    """What random ids never reach: the gates behind the shape, the order behind the path."""
    if isinstance(case.body, dict):
        case.body |= A_GOOD_ORDER
    if "order_id" in (case.path_parameters or {}):
        case.path_parameters["order_id"] = order_id
    # A case that was wrong in the member that is mended here may be right now.
    checks = [check for check in CHECKS if check is not negative_data_rejection]
    case.call_and_validate(base_url=api, checks=checks, headers={"Authorization": f"Bearer {token}"})
