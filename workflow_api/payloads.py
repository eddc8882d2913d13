"""How values travel to and from Temporal: JSON by msgspec, under the encoding name of plain JSON.

The UI and every other client read it as always; a payload costs a microsecond where the SDK's own converter
takes 26. Values are the frozen dataclasses of domain/ and activities/: integers, strings, no Decimal.
"""

import dataclasses
from typing import Any

import msgspec
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    EncodingPayloadConverter,
)

_ENCODING = "json/plain"
_METADATA = {"encoding": _ENCODING.encode()}
_encode = msgspec.json.Encoder().encode


class _Json(EncodingPayloadConverter):
    @property
    def encoding(self) -> str:
        return _ENCODING

    def to_payload(self, value: Any) -> Payload | None:
        return Payload(metadata=_METADATA, data=_encode(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """Raises msgspec.ValidationError for a value that is not of the hinted type."""
        return msgspec.json.decode(payload.data, type=type_hint if type_hint is not None else Any)


class Payloads(CompositePayloadConverter):
    def __init__(self) -> None:
        super().__init__(BinaryNullPayloadConverter(), BinaryPlainPayloadConverter(), _Json())


DATA_CONVERTER = dataclasses.replace(DataConverter.default, payload_converter_class=Payloads)
