"""The CoAP messages of a session: one message type, its codec, builders, and how either side classifies it.

The format is RFC 7252 without its UDP rules. Two liberties are those of the firmware
(``communication/src/messages.cpp``, ``coap.cpp`` of particle-iot/device-os): an empty payload behind a marker is
a message of its own kind (:attr:`Message.payload` ``b""`` instead of ``None``), and an event's name is one option
with its slashes in it. The two sides understand different requests, hence two classifications.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final


class MessageType(IntEnum):
    """The two type bits."""

    CON = 0
    NON = 1
    ACK = 2
    RST = 3


CON: Final = MessageType.CON
NON: Final = MessageType.NON
ACK: Final = MessageType.ACK
RST: Final = MessageType.RST
_TYPES = (CON, NON, ACK, RST)


class Code:
    """Code bytes: class in the upper three bits, detail in the lower five."""

    EMPTY: Final = 0x00
    GET: Final = 0x01
    POST: Final = 0x02
    PUT: Final = 0x03
    CHANGED: Final = 0x44
    CONTENT: Final = 0x45
    BAD_REQUEST: Final = 0x80
    NOT_FOUND: Final = 0x84
    SERVICE_UNAVAILABLE: Final = 0xA3


class Option:
    """Option numbers that occur."""

    URI_PATH: Final = 11
    MAX_AGE: Final = 14
    URI_QUERY: Final = 15
    NO_RESPONSE: Final = 258


OWN_ID: Final = -1
"""Message id of an acknowledgement that takes the sender's next one instead of the request's."""
CIPHERTEXT_ID: Final = -2
"""Message id of an acknowledgement whose buffer held ciphertext: the first two bytes of the sender's last one."""


class CoapError(ValueError):
    """Bytes that are no CoAP message, or a message that cannot be written."""


@dataclass(slots=True)
class Message:
    """One CoAP message."""

    type: MessageType
    code: int
    message_id: int = 0
    """16 bits. Cores fill it for CON and NON messages that they send; an ACK repeats the id of the request."""
    token: bytes = b""
    """0 to 8 bytes."""
    options: tuple[tuple[int, bytes], ...] = ()
    """(number, value) in ascending order of the numbers."""
    payload: bytes | None = None
    """None without a payload marker; ``b""`` for a marker with nothing behind it."""


class Kind(StrEnum):
    """What a message is to the side that receives it."""

    HELLO = "hello"
    PING = "ping"
    ACK = "ack"
    """An empty message that is no ping: an acknowledgement or a reset."""
    EVENT = "event"
    SUBSCRIBE = "subscribe"
    TIME_REQUEST = "time_request"
    TIME = "time"
    """Any 2.05 that reaches a device; devices do not look at the token."""
    DESCRIBE_REQUEST = "describe_request"
    DESCRIBE = "describe"
    """A describe document that a device posts by itself."""
    VARIABLE_REQUEST = "variable_request"
    FUNCTION_CALL = "function_call"
    SIGNAL = "signal"
    UPDATE_BEGIN = "update_begin"
    SAVE_BEGIN = "save_begin"
    CHUNK = "chunk"
    CHUNK_MISSED = "chunk_missed"
    UPDATE_DONE = "update_done"
    KEY_CHANGE = "key_change"
    GOODBYE = "goodbye"
    RESPONSE = "response"
    """Any answer with a code of class 2 and above that reaches a cloud."""
    UNKNOWN = "unknown"


# --- codec

_HEAD = struct.Struct(">BBH")
_MARKER = 0xFF


def _extended(value: int) -> tuple[int, bytes]:
    """Nibble and extra bytes of an option's delta or length (RFC 7252, 3.1)."""
    if value < 13:
        return value, b""
    if value < 269:
        return 13, bytes((value - 13,))
    return 14, (value - 269).to_bytes(2, "big")


def encode(message: Message) -> bytes:
    """The bytes of a message. Raises :class:`CoapError` where a field is out of range or options are unordered."""
    token = message.token
    if len(token) > 8:
        raise CoapError(f"a token of {len(token)} bytes")
    try:
        head = _HEAD.pack(0x40 | message.type << 4 | len(token), message.code, message.message_id) + token
    except struct.error as error:
        raise CoapError(f"code {message.code} or message id {message.message_id} out of range") from error
    if message.options:
        head += _encode_options(message.options)
    if message.payload is None:
        return head
    return head + b"\xff" + message.payload


def _encode_options(options: tuple[tuple[int, bytes], ...]) -> bytes:
    parts = bytearray()
    previous = 0
    for number, value in options:
        delta = number - previous
        previous = number
        if delta < 0 or delta > 0xFFFF + 269 or len(value) > 0xFFFF + 269:
            raise CoapError(f"option {number} out of order or too long")
        delta_nibble, delta_bytes = _extended(delta)
        length_nibble, length_bytes = _extended(len(value))
        parts.append(delta_nibble << 4 | length_nibble)
        parts += delta_bytes
        parts += length_bytes
        parts += value
    return bytes(parts)


def decode(data: bytes) -> Message:
    """Parse one message. Raises :class:`CoapError` for anything that is none."""
    if len(data) < 4:
        raise CoapError(f"{len(data)} bytes are no message")
    first, code, message_id = _HEAD.unpack_from(data)
    if first >> 6 != 1:
        raise CoapError(f"version {first >> 6}")
    position = 4 + (first & 15)
    if position > 12 or position > len(data):
        raise CoapError("wrong token length")
    message = Message(_TYPES[first >> 4 & 3], code, message_id, data[4:position])
    if position < len(data):
        _decode_options(data, position, message)
    return message


def _decode_options(data: bytes, position: int, message: Message) -> None:
    options: list[tuple[int, bytes]] = []
    number = 0
    end = len(data)
    while position < end:
        header = data[position]
        position += 1
        if header == _MARKER:
            message.payload = data[position:]
            break
        delta, position = _extension(data, position, header >> 4)
        length, position = _extension(data, position, header & 15)
        number += delta
        if position + length > end:
            raise CoapError(f"option {number} ends behind the message")
        options.append((number, data[position : position + length]))
        position += length
    message.options = tuple(options)


def _extension(data: bytes, position: int, nibble: int) -> tuple[int, int]:
    """Value of a delta or length nibble, and the position behind its extra bytes."""
    if nibble < 13:
        return nibble, position
    size = nibble - 12
    if size > 2 or position + size > len(data):
        raise CoapError("wrong option header")
    value = int.from_bytes(data[position : position + size], "big")
    return value + (13 if size == 1 else 269), position + size


def is_hello(data: bytes) -> bool:
    """Whether the bytes of a message are a Hello (POST, path ``h``), without parsing the rest.

    The type does not matter: no implementation looks at it.
    """
    if len(data) < 6 or data[1] != 2 or data[0] & 0xC0 != 0x40:  # 2: POST
        return False
    path = 4 + (data[0] & 15)
    return path <= 12 and data[path : path + 2] == b"\xb1h"


# --- classification

_EMPTY_KINDS = {CON: Kind.PING, NON: Kind.ACK, ACK: Kind.ACK, RST: Kind.ACK}
_AT_DEVICE: dict[tuple[int, bytes], Kind] = {
    (Code.GET, b"v"): Kind.VARIABLE_REQUEST,
    (Code.GET, b"d"): Kind.DESCRIBE_REQUEST,
    (Code.POST, b"E"): Kind.EVENT,
    (Code.POST, b"e"): Kind.EVENT,
    (Code.POST, b"h"): Kind.HELLO,
    (Code.POST, b"f"): Kind.FUNCTION_CALL,
    (Code.POST, b"s"): Kind.SAVE_BEGIN,
    (Code.POST, b"u"): Kind.UPDATE_BEGIN,
    (Code.POST, b"c"): Kind.CHUNK,
    (Code.PUT, b"k"): Kind.KEY_CHANGE,
    (Code.PUT, b"u"): Kind.UPDATE_DONE,
    (Code.PUT, b"s"): Kind.SIGNAL,
}
_AT_CLOUD: dict[tuple[int, bytes], Kind] = {
    (Code.GET, b"t"): Kind.TIME_REQUEST,
    (Code.GET, b"e"): Kind.SUBSCRIBE,
    (Code.GET, b"E"): Kind.SUBSCRIBE,
    (Code.GET, b"c"): Kind.CHUNK_MISSED,
    (Code.POST, b"h"): Kind.HELLO,
    (Code.POST, b"e"): Kind.EVENT,
    (Code.POST, b"E"): Kind.EVENT,
    (Code.POST, b"d"): Kind.DESCRIBE,
    (Code.POST, b"x"): Kind.GOODBYE,
    (Code.PUT, b"u"): Kind.UPDATE_DONE,
}


def path_letter(message: Message) -> bytes:
    """The first segment of the path if it is one letter, as in every resource of this protocol, else ``b""``."""
    if message.options and message.options[0][0] == Option.URI_PATH and len(message.options[0][1]) == 1:
        return message.options[0][1]
    return b""


def kind_at_device(message: Message) -> Kind:
    """What a device takes ``message`` for.

    ``UNKNOWN`` is everything that the firmware's ``decodeType`` calls an error: unknown codes (2.04 and 4.xx
    too), and known ones with a path that it does not know.
    """
    code = message.code
    if code == Code.EMPTY:
        return _EMPTY_KINDS[message.type]
    if code == Code.CONTENT:
        return Kind.TIME
    return _AT_DEVICE.get((code, path_letter(message)), Kind.UNKNOWN)


def kind_at_cloud(message: Message) -> Kind:
    """What a cloud takes ``message`` for."""
    code = message.code
    if code == Code.EMPTY:
        return _EMPTY_KINDS[message.type]
    if code >= 0x40:
        return Kind.RESPONSE
    return _AT_CLOUD.get((code, path_letter(message)), Kind.UNKNOWN)


# --- builders. Message ids of CON and NON messages are left to the core that sends them.

_DEFAULT_TTL_S = 60
_DEVICE_HELLO = struct.Struct(">BBH3sHHBBH")
_SYSTEM_FACTS = struct.Struct(">BBHHIH")
_CLOUD_HELLO = struct.Struct(">BBH2s")


def device_hello(
    message_id: int, *, product_id: int, product_version: int, flags: int, platform_id: int, tail: bytes = b""
) -> bytes:
    """The bytes of a device's Hello: NON POST /h, 15 bytes and the tail.

    Payload: product id, product version, a reserved byte, flags, platform id.

    Args:
        message_id: the device's first.
        product_id, product_version, flags, platform_id: what is sent.
        tail: what firmware from 3.0 sends behind them, :func:`system_facts`.
    """
    return (
        _DEVICE_HELLO.pack(
            0x50, Code.POST, message_id, b"\xb1h\xff", product_id, product_version, 0, flags, platform_id
        )
        + tail
    )


def system_facts(*, version: int, max_message: int, max_binary: int, chunk_size: int) -> bytes:
    """The tail of Hello from 3.0, 12 bytes: a reserved one, an id of no bytes, and four limits of the device.

    Args:
        version: of the system module.
        max_message, max_binary, chunk_size: largest message, largest firmware, size of its pieces; bytes.
    """
    return _SYSTEM_FACTS.pack(0, 0, version, max_message, max_binary, chunk_size)


def cloud_hello(message_id: int) -> bytes:
    """The bytes of a cloud's Hello: NON POST /h without token and payload, 6 bytes."""
    return _CLOUD_HELLO.pack(0x50, Code.POST, message_id, b"\xb1h")


def ping() -> Message:
    """An empty CON; either side may send it."""
    return Message(CON, Code.EMPTY)


def empty_ack(message_id: int) -> Message:
    """``60 00 id``: the only acknowledgement that every firmware accepts."""
    return Message(ACK, Code.EMPTY, message_id)


def coded_ack(message_id: int, code: int) -> Message:
    """An acknowledgement with a code and without the token."""
    return Message(ACK, code, message_id)


def event(
    name: str,
    data: bytes | None = None,
    *,
    private: bool = False,
    confirmable: bool = False,
    ttl_s: int = _DEFAULT_TTL_S,
) -> Message:
    """An event, from either side. No token: devices read the name at a fixed offset."""
    options: tuple[tuple[int, bytes], ...] = (
        (Option.URI_PATH, b"E" if private else b"e"),
        (Option.URI_PATH, name.encode()),
    )
    if ttl_s != _DEFAULT_TTL_S:
        options += ((Option.MAX_AGE, ttl_s.to_bytes(3, "big")),)
    return Message(CON if confirmable else NON, Code.POST, options=options, payload=data)


def subscribe(prefix: str, *, own_devices: bool = False) -> Message:
    """Device: subscription to events whose name begins with ``prefix``."""
    options: tuple[tuple[int, bytes], ...] = (
        (Option.URI_PATH, b"e"),
        (Option.URI_PATH, prefix.encode()),
    )
    if own_devices:
        options += ((Option.URI_QUERY, b"u"),)
    return Message(CON, Code.GET, options=options)


def time_request(token: bytes) -> Message:
    """Device: what time is it?"""
    return Message(CON, Code.GET, token=token, options=((Option.URI_PATH, b"t"),))


def time_response(request: Message, now_s: int) -> Message:
    """Cloud: seconds since 1970, four bytes, with id and token of the request."""
    return Message(ACK, Code.CONTENT, request.message_id, request.token, payload=now_s.to_bytes(4, "big"))


def describe_request(token: bytes, selector: int | None = None) -> Message:
    """Cloud: describe yourself. ``selector`` 1 system, 2 application, 3 or None both; the token has one byte."""
    options: tuple[tuple[int, bytes], ...] = ((Option.URI_PATH, b"d"),)
    if selector is not None:
        options += ((Option.URI_QUERY, bytes((selector,))),)
    return Message(CON, Code.GET, token=token, options=options)


def signal(token: bytes, *, start: bool) -> Message:
    """Cloud: make the device's light cycle its colours, or stop it."""
    return Message(
        CON,
        Code.PUT,
        token=token,
        options=((Option.URI_PATH, b"s"), (Option.URI_QUERY, b"\x01" if start else b"\x00")),
    )


def response(request: Message, code: int, payload: bytes | None = None) -> Message:
    """A piggy-backed answer: ACK with id and token of the request."""
    return Message(ACK, code, request.message_id, request.token, payload=payload)


def separate_response(token: bytes, code: int, payload: bytes | None = None, *, confirmable: bool = False) -> Message:
    """An answer in a message of its own, told by the request's token."""
    return Message(CON if confirmable else NON, code, token=token, payload=payload)


def describe_post(selector: int, document: bytes) -> Message:
    """Device, from 2.0: describe itself unasked. ``selector`` 1 system, 2 application."""
    return Message(
        CON, Code.POST, options=((Option.URI_PATH, b"d"), (Option.URI_QUERY, bytes((selector,)))), payload=document
    )


_DISCONNECT_REASON: Final = 0x01
_BY_THE_USER: Final = 0x02


def goodbye() -> Message:
    """Device, from 2.0: it disconnects because its user wants it to, and expects no answer."""
    return Message(
        NON,
        Code.POST,
        options=((Option.URI_PATH, b"x"), (Option.NO_RESPONSE, b"")),
        payload=bytes((_DISCONNECT_REASON, _BY_THE_USER)),
    )
