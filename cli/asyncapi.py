"""`hundi asyncapi`: the stream as an AsyncAPI 3.0 document, from the types of its frames and messages.

docs/asyncapi.yaml is this output; a test holds it current. Both channels have the same messages: plain
WebSocket with `type` or `action` in the frame, Socket.IO with the event's name beside its one argument.
"""

import json
import re
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from typing import Any

import msgspec

from bus.stream_frames import FRAMES, AnswerFrame, MessageAnswer, SnapshotFrame, TicksFrame
from realtime.app import STREAM
from realtime.stream.messages import MESSAGES, Action

Json = dict[str, Any]
_SCHEMAS = "#/components/schemas"
_PLAIN, _SOCKET_IO = "plain", "socketIo"
_INFO = """\
Ticks, order updates, portfolios and the market's phases over one connection (stream.md). Where a frame has
members that are not required, it has those that its event is about."""
_PLAIN_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")


def main() -> None:
    """Print the document as YAML."""
    print(page(), end="")


def page() -> str:
    return "".join(f"{line}\n" for line in _yaml(document(), 0))


def document() -> Json:
    events = {_name(frame): _event(frame) for frame in FRAMES if frame is not AnswerFrame}
    lists = {f"{name}List": _list_of(name, event) for name, event in events.items() if name in _LISTS}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Hundi: the stream", "version": "1", "description": _INFO.replace("\n", " ")},
        "defaultContentType": "application/json",
        "servers": {
            _PLAIN: {"host": "127.0.0.1:8001", "protocol": "ws"},
            _SOCKET_IO: {
                "host": "127.0.0.1:8001",
                "protocol": "socket.io",
                "description": "Socket.IO 5, transports polling and websocket.",
            },
        },
        "channels": {
            _PLAIN: _channel(_PLAIN, f"{STREAM}/ws", _plain_messages(events)),
            _SOCKET_IO: _channel(_SOCKET_IO, STREAM, _socket_io_messages(events)),
        },
        "operations": {**_operations(_PLAIN, events), **_operations(_SOCKET_IO, events)},
        "components": {
            "messages": {
                **events,
                **lists,
                **{action: _argument(action) for action in MESSAGES},
                **{f"{action}Frame": _action_frame(action) for action in MESSAGES},
                "answer": _message("answer", AnswerFrame),
                "acknowledgement": _message("acknowledgement", MessageAnswer),
            },
            "schemas": schemas(),
        },
    }


def schemas() -> Json:
    """The JSON Schema (draft 7, AsyncAPI's own) of each type, by name."""
    types = [*FRAMES, MessageAnswer, *MESSAGES.values()]
    _, found = msgspec.json.schema_components(types, ref_template=f"{_SCHEMAS}/{{name}}")
    return {name: _draft7(schema) for name, schema in sorted(found.items())}


def _name(frame: type[msgspec.Struct]) -> str:
    return str(frame.__struct_config__.tag)


_LISTS = {_name(frame): "Tick" for frame in (SnapshotFrame, TicksFrame)}
"""Events whose one argument on Socket.IO is a list, and of what."""


def _message(name: str, kind: type[msgspec.Struct], payload: Json | None = None) -> Json:
    summary = " ".join(cleandoc(kind.__doc__ or "").split())
    return {"name": name, "summary": summary, "payload": payload or _ref(f"schemas/{kind.__name__}")}


def _event(frame: type[msgspec.Struct]) -> Json:
    return _message(_name(frame), frame)


def _list_of(name: str, event: Json) -> Json:
    return event | {"payload": {"type": "array", "items": _ref(f"schemas/{_LISTS[name]}")}}


def _argument(action: Action) -> Json:
    """A client's message on Socket.IO: the argument of the event."""
    return _message(action.value, MESSAGES[action])


def _action_frame(action: Action) -> Json:
    """The same message on plain WebSocket: the members beside `action`, and `id` for the answer."""
    kind = MESSAGES[action]
    envelope = {
        "type": "object",
        "required": ["action"],
        "properties": {
            "action": {"const": action.value},
            "id": {"description": "repeated in the answer"},
        },
    }
    return _message(action.value, kind, {"allOf": [_ref(f"schemas/{kind.__name__}"), envelope]})


def _plain_messages(events: Mapping[str, Json]) -> Json:
    frames = {action.value: f"messages/{action}Frame" for action in MESSAGES}
    return {**frames, **{name: f"messages/{name}" for name in events}, "answer": "messages/answer"}


def _socket_io_messages(events: Mapping[str, Json]) -> Json:
    received = {action.value: f"messages/{action}" for action in MESSAGES}
    sent = {name: f"messages/{name}{'List' if name in _LISTS else ''}" for name in events}
    return {**received, **sent, "acknowledgement": "messages/acknowledgement"}


def _channel(server: str, address: str, messages: Mapping[str, str]) -> Json:
    return {
        "address": address,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": {name: _ref(target) for name, target in messages.items()},
    }


def _operations(channel: str, events: Mapping[str, Json]) -> Json:
    """What the server receives, each with its answer, and what it sends."""

    def refs(*names: str) -> list[Json]:
        return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names]

    at = {"$ref": f"#/channels/{channel}"}
    answer = "answer" if channel == _PLAIN else "acknowledgement"
    operations: Json = {}
    for action in MESSAGES:
        operations[f"{channel}_{action}"] = {"action": "receive", "channel": at, "messages": refs(action)}
        if channel == _PLAIN or action is not Action.AUTH:
            operations[f"{channel}_{action}"]["reply"] = {"channel": at, "messages": refs(answer)}
    operations[f"{channel}_events"] = {"action": "send", "channel": at, "messages": refs(*events)}
    return operations


def _ref(path: str) -> Json:
    return {"$ref": f"#/components/{path}"}


def _draft7(schema: Any) -> Any:
    """The schema with tuples as draft 7 has them; msgspec writes 2020-12."""
    if isinstance(schema, list):
        return [_draft7(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    translated = {key: _draft7(part) for key, part in schema.items()}
    if "prefixItems" in translated:
        translated |= {"items": translated.pop("prefixItems"), "additionalItems": translated["items"]}
    return translated


def _yaml(value: Any, indent: int) -> Iterator[str]:
    """Block YAML of JSON values; strings are quoted as JSON has them, which is YAML too."""
    pad = "  " * indent
    pairs = value.items() if isinstance(value, dict) else (("-", item) for item in value)
    for key, part in pairs:
        lead = f"{pad}-" if isinstance(value, list) else f"{pad}{_key(key)}:"
        if isinstance(part, dict | list) and part:
            yield lead
            yield from _yaml(part, indent + 1)
        else:
            yield f"{lead} {json.dumps(part, ensure_ascii=False)}"


def _key(key: str) -> str:
    return str(key) if _PLAIN_KEY.fullmatch(key) else json.dumps(key)


if __name__ == "__main__":
    main()
