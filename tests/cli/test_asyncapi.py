"""The AsyncAPI document of the stream: current, sound, and true of the frames that the types encode."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from bus.stream_frames import (
    FRAMES,
    AnswerFrame,
    GapFrame,
    HeartbeatFrame,
    MarketStatusFrame,
    SessionFrame,
    encode,
)
from cli.asyncapi import document, page
from domain.reports import MarketPhase
from realtime.stream.messages import MESSAGES, Action
from realtime.stream.quotes import COLUMNS

DOCUMENT = json.loads(json.dumps(document()))
NOON = "2026-02-16T06:30:00.123456789Z"
ENCODED = [
    SessionFrame(client_id="DEMO0001", expires_at=NOON, seq=None),
    HeartbeatFrame(timestamp=NOON, seq=7),
    GapFrame(from_seq=1, to_seq=3),
    MarketStatusFrame(
        exchange="NSE", segment="CASH", session_class=None, phase=MarketPhase.CONTINUOUS, since=NOON
    ),
    AnswerFrame(ok=True, action="resume", id=[1], seq=None),
]


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (part for key, part in value.items() if key == "$ref")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from refs(part)


def resolved(ref: str) -> Any:
    found: Any = DOCUMENT
    for part in ref.removeprefix("#/").split("/"):
        found = found[part]
    return resolved(found["$ref"]) if "$ref" in found else found


def schema(payload: Any) -> Any:
    """A payload as a JSON Schema of its own."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "components": DOCUMENT["components"],
        "allOf": [payload],
    }


def test_the_document_is_current() -> None:
    written = (Path(__file__).parents[2] / "docs" / "asyncapi.yaml").read_text()
    assert written == page(), "write it again: hundi asyncapi > docs/asyncapi.yaml"
    assert yaml.safe_load(written) == DOCUMENT


def test_every_reference_has_its_target() -> None:
    assert all(resolved(ref) for ref in set(refs(DOCUMENT)))


@pytest.mark.parametrize("channel", ["plain", "socketIo"])
def test_every_message_of_a_channel_is_received_or_sent_by_one_operation(channel: str) -> None:
    used: list[str] = []
    for name, operation in DOCUMENT["operations"].items():
        if name.startswith(f"{channel}_"):
            used += refs(operation["messages"])
    replies = {"answer", "acknowledgement"}
    messages = DOCUMENT["channels"][channel]["messages"].keys() - replies
    assert sorted(used) == sorted(f"#/channels/{channel}/messages/{name}" for name in messages)


def test_every_schema_is_one_of_draft_7() -> None:
    for name, found in DOCUMENT["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid({"$schema": schema(None)["$schema"], **found}), name


def test_every_frame_and_every_message_is_in_it() -> None:
    plain = DOCUMENT["channels"]["plain"]["messages"].keys()
    assert plain == {str(frame.__struct_config__.tag) for frame in FRAMES} | set(Action)
    assert list(MESSAGES) == list(Action)


def test_a_tick_has_the_columns_of_every_mode() -> None:
    columns = {name for mode in COLUMNS.values() for name, _, _ in mode}
    tick = DOCUMENT["components"]["schemas"]["Tick"]
    assert tick["properties"].keys() == columns | {"instrument", "timestamp"}


@pytest.mark.parametrize("frame", ENCODED, ids=lambda frame: str(frame.__struct_config__.tag))
def test_what_is_encoded_is_valid_by_the_document(frame: Any) -> None:
    message = resolved(f"#/channels/plain/messages/{frame.__struct_config__.tag}")
    validator = jsonschema_rs.Draft7Validator(schema(message["payload"]))
    encoded = json.loads(encode(frame))
    assert validator.is_valid(encoded)
    assert not validator.is_valid(encoded | {"surprise": 1})


def test_levels_of_a_tick_are_pairs() -> None:
    validator = jsonschema_rs.Draft7Validator(schema({"$ref": "#/components/schemas/Tick"}))
    tick = {"instrument": "NSE:INFY", "timestamp": NOON, "bids": [[2450.5, 10]], "ltp": None}
    assert validator.is_valid(tick)
    assert not validator.is_valid(tick | {"bids": [[2450.5]], "asks": []} | {"bids": [[1.0, 2, 3]]})


def test_a_client_s_frame_is_valid_by_its_action() -> None:
    payload = resolved("#/channels/plain/messages/subscribe")["payload"]
    validator = jsonschema_rs.Draft7Validator(schema(payload))
    frame = {"action": "subscribe", "id": 1, "instruments": ["NSE:INFY"], "mode": "full"}
    assert validator.is_valid(frame)
    assert not validator.is_valid(frame | {"mode": "everything"})
    assert not validator.is_valid(frame | {"action": "resume"})
