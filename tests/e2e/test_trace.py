"""One trace tells an order's whole way, through every process, from the request to the client's socket."""

import json
import secrets
from uuid import uuid4

import httpx
import socketio

from tests.support.eventually import eventually
from tests.support.market import Market

STAGES = {
    "api": {"POST /api/v1/orders", "intake"},
    "order-worker-0": {"order.start", "validate", "block_margin", "submit", "book_first_reports"},
    "gateway": {"gateway.send", "gateway.report"},
    "realtime-0": {"stream.push"},
}


def spans(market: Market, process: str, trace_id: str) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in market.process(process).log.splitlines() if trace_id in line]
    return [line for line in lines if line["event"] == "span"]


async def test_one_trace_leads_from_the_request_to_the_socket(market: Market) -> None:
    # The ratio looks at the last half of the id: the smallest is always sampled.
    trace_id = f"{secrets.token_hex(8)}{1:016x}"
    async with (
        httpx.AsyncClient(base_url=market.api_url, timeout=20) as http,
        socketio.AsyncSimpleClient() as stream,
    ):
        session = {"client_id": "DEMO0041", "password": "demo"}
        token = (await http.post("/api/v1/session", json=session)).json()["access_token"]
        await stream.connect(market.stream_url, socketio_path="/api/v1/stream", auth={"token": token})
        order = {
            "instrument_id": "NSE:RELIANCE",
            "order_type": "MARKET",
            "transaction_type": "BUY",
            "quantity": 1,
            "product": "MIS",
            "idempotency_key": str(uuid4()),
        }
        headers = {"Authorization": f"Bearer {token}", "traceparent": f"00-{trace_id}-{1:016x}-00"}
        answer = await http.post("/api/v1/orders", json=order, headers=headers)
        assert (answer.status_code, answer.headers["x-trace-id"]) == (202, trace_id)

        def told() -> bool:
            return all(
                names <= {span["name"] for span in spans(market, process, trace_id)}
                for process, names in STAGES.items()
            )

        assert await eventually(told, within=30, every=0.25)
    request = next(s for s in spans(market, "api", trace_id) if s["name"] == "POST /api/v1/orders")
    for process in STAGES:
        for span in spans(market, process, trace_id):
            assert (
                span is request
                or span["span_id"] == request["span_id"]
                or (span["parent_id"] == request["span_id"])
            )
