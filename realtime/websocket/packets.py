"""What clients say in Engine.IO packets: text only, of the kinds that clients send.

Used by realtime/websocket/engineio_driver.py.
Sources: Engine.IO protocol 4, Socket.IO protocol 5.
"""

from engineio.packet import CLOSE, MESSAGE, PONG, UPGRADE, Packet

from realtime.stream.messages import MessageRefused

_SAID = {CLOSE, PONG, MESSAGE, UPGRADE}
_BINARY_SAID = ("45", "46")
"""Messages of Socket.IO that attachments would follow."""
_SOCKET_IO_SAID = ("0", "1", "2", "3")
"""Kinds of Socket.IO's packets that clients send: CONNECT, DISCONNECT, EVENT, ACK."""
NO_PACKET = MessageRefused("FRAME_INVALID", "That is no packet that a client sends.")
_BINARY = MessageRefused("BINARY_REFUSED", "Nothing binary is taken.")


def understood(message: str | bytes) -> Packet:
    """A packet as clients send them. Raises Refused for every other."""
    if isinstance(message, bytes) or message.startswith(("b", *_BINARY_SAID)):
        raise _BINARY
    try:
        packet = Packet(encoded_packet=message)
    except (ValueError, RecursionError):
        raise NO_PACKET from None
    is_text = isinstance(packet.data, str) and packet.data.startswith(_SOCKET_IO_SAID)
    if packet.packet_type not in _SAID or (packet.packet_type == MESSAGE and not is_text):
        raise NO_PACKET
    return packet
