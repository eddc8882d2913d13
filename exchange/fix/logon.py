"""The proof at a FIX logon that both sides share a secret, without saying it: RawData (95, 96).

It is an HMAC-SHA256 of who logs on to whom, under which sequence number and when, so neither a wire log nor a
message store helps anybody: a sequence number is taken once, and QuickFIX refuses a SendingTime that is old.
"""

import hmac

import quickfix

SENDER, TARGET, SEQUENCE, SENDING_TIME, LOGON = 49, 56, 34, 52, "A"
RAW_DATA_LENGTH, RAW_DATA = 95, 96


def sign(message: quickfix.Message, key: str) -> None:
    """Add the proof to a logon whose header is complete."""
    proof = _proof(message, key)
    message.setField(RAW_DATA_LENGTH, str(len(proof)))
    message.setField(RAW_DATA, proof)


def is_signed(message: quickfix.Message, key: str) -> bool:
    given = message.getField(RAW_DATA) if message.isSetField(RAW_DATA) else ""
    return hmac.compare_digest(given.encode(), _proof(message, key).encode())


def is_logon(message: quickfix.Message) -> bool:
    return bool(message.getHeader().getField(35) == LOGON)


def _proof(message: quickfix.Message, key: str) -> str:
    header = message.getHeader()
    said = "|".join(header.getField(tag) for tag in (SENDER, TARGET, SEQUENCE, SENDING_TIME))
    return hmac.digest(key.encode(), said.encode(), "sha256").hex()
