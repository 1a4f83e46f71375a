"""What a device answers to the messages of a session, as its firmware does.

A request goes by its kind to one function; what differs between versions is in the profile. An acknowledgement has the
request's id here; every other id is filled in by the core that sends the answer. Sources: particle-iot/device-os
``communication/src/spark_protocol.cpp`` (to 0.7.0), ``protocol.cpp``, ``functions.h``, ``variables.h``,
``variables.cpp``, ``chunked_transfer.cpp`` (from 0.8.0).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from loadgen.protocol.application import FUNCTIONS, missing_variable_bytes, variable_bytes
from loadgen.protocol.coap import (
    CIPHERTEXT_ID,
    CON,
    OWN_ID,
    Code,
    Kind,
    Message,
    Option,
    coded_ack,
    empty_ack,
    kind_at_device,
    response,
    separate_response,
)
from loadgen.protocol.profile import Describes, FirmwareProfile

SYSTEM: Final = 1
"""Selector of a describe document: platform and modules."""
APPLICATION: Final = 2
"""Functions and variables."""
BOTH: Final = SYSTEM | APPLICATION
METRICS: Final = 4
"""A document of metrics; a virtual device has none."""
_METRICS_DOCUMENT: Final = bytes((0, METRICS, 0))
"""A document of metrics without any: its kind, and the two bytes around it that say "not text"."""


def device_replies(message: Message, firmware: FirmwareProfile) -> list[Message]:
    """What a device of this firmware sends for a received message, in order.

    What its firmware takes without a word (events, the time, a second Hello …) has no answer.
    """
    answer = _ANSWERS.get(kind_at_device(message))
    return [] if answer is None else answer(message, firmware)


def ends_session(message: Message, firmware: FirmwareProfile) -> bool:
    """Whether the firmware ends the session over a message it understands: a request without the token it needs."""
    return firmware.needs_token and not message.token and kind_at_device(message) in _NEED_TOKEN


_NEED_TOKEN: Final = frozenset({Kind.FUNCTION_CALL, Kind.VARIABLE_REQUEST})


def _acknowledged(ack: Message, firmware: FirmwareProfile) -> Message:
    """An acknowledgement that is built in the buffer of the request, where newer firmware forgets the request's id."""
    if firmware.own_ack_ids:
        ack.message_id = OWN_ID
    return ack


def _ping(message: Message, firmware: FirmwareProfile) -> list[Message]:
    return [_acknowledged(empty_ack(message.message_id), firmware)]


def _signal(message: Message, firmware: FirmwareProfile) -> list[Message]:
    return [_acknowledged(response(message, Code.CHANGED), firmware)]


def _key_change(message: Message, firmware: FirmwareProfile) -> list[Message]:
    if firmware.generation == "sparkprotocol" or message.type is not CON:
        return []
    return [_acknowledged(empty_ack(message.message_id), firmware)]


def _hello(message: Message, firmware: FirmwareProfile) -> list[Message]:
    return [empty_ack(message.message_id)] if firmware.acks_confirmable_hello and message.type is CON else []


# --- describe


def _describe(message: Message, firmware: FirmwareProfile) -> list[Message]:
    how = firmware.describes
    if how is Describes.ONCE:
        return [response(message, Code.CONTENT, describe_document(firmware))]
    if how is Describes.TWICE:
        again = response(message, Code.CONTENT, describe_document(firmware, APPLICATION))
        again.message_id = CIPHERTEXT_ID
        return [response(message, Code.CONTENT, describe_document(firmware)), again]
    document = _document(_selector(message, firmware), firmware)
    if how is Describes.PARTS:
        return [response(message, Code.CONTENT, document)]
    separate = separate_response(message.token, Code.CONTENT, document, confirmable=True)
    return [empty_ack(message.message_id), separate]


def described_parts(request: Message, firmware: FirmwareProfile) -> tuple[int, ...]:
    """The selectors of the documents that answer a describe request, in order."""
    if firmware.describes is Describes.TWICE:
        return BOTH, APPLICATION
    return (BOTH,) if firmware.describes is Describes.ONCE else (_selector(request, firmware),)


def _selector(request: Message, firmware: FirmwareProfile) -> int:
    """The parts that the query byte selects; both where there is none or one that the firmware does not know."""
    for number, value in request.options:
        if number == Option.URI_QUERY and value:
            if value[0] == METRICS and firmware.generation == "lightssl":
                return METRICS
            if 0 < value[0] <= BOTH:
                return value[0]
    return BOTH


def _document(selector: int, firmware: FirmwareProfile) -> bytes:
    return _METRICS_DOCUMENT if selector == METRICS else describe_document(firmware, selector)


@lru_cache(maxsize=256)
def describe_document(firmware: FirmwareProfile, selector: int = BOTH) -> bytes:
    """The describe document, JSON: 1 system (``p``, ``m``), 2 application (``f``, ``v``), 3 both."""
    document: dict[str, object] = {}
    if selector & APPLICATION:
        document["f"] = list(firmware.functions)
        document["v"] = dict(firmware.variables)
    if selector & SYSTEM:
        document["p"] = firmware.platform_id
        document["m"] = [dict(module) for module in firmware.modules]
    return json.dumps(document, separators=(",", ":")).encode()


# --- functions and variables


def _name_and_query(message: Message) -> tuple[bytes, bytes]:
    """The second segment of the path, and the query."""
    path = [value for number, value in message.options if number == Option.URI_PATH]
    query = next((value for number, value in message.options if number == Option.URI_QUERY), b"")
    return path[1] if len(path) > 1 else b"", query


def _function(message: Message, firmware: FirmwareProfile) -> list[Message]:
    """Acknowledged whether there is such a function or not; the result follows only where there is.

    An argument that is too long is refused; the older implementation calls the function all the same, with what its
    buffer held, which is nothing in a device that was never called before.
    """
    name, argument = _name_and_query(message)
    answers = [empty_ack(message.message_id)]
    if len(argument) > firmware.function_argument:
        answers = [coded_ack(message.message_id, firmware.bad_request)]
        if firmware.generation != "sparkprotocol":
            return answers
        argument = b""
    called = FUNCTIONS.get(name.decode("latin-1")) if len(name) <= firmware.function_name else None
    if called is not None:
        result = called(argument).to_bytes(4, "big", signed=True)
        answers.append(separate_response(message.token, Code.CHANGED, result))
    return answers


def _variable(message: Message, firmware: FirmwareProfile) -> list[Message]:
    name = _name_and_query(message)[0][: firmware.function_name].decode("latin-1")
    value = variable_bytes(name)
    if not firmware.separate_values:
        value = missing_variable_bytes() if value is None else value
        return [response(message, Code.CONTENT, value)]
    if value is None:
        return [empty_ack(message.message_id), separate_response(message.token, Code.NOT_FOUND)]
    return [empty_ack(message.message_id), separate_response(message.token, Code.CONTENT, value)]


# --- updates: a virtual device takes none


def _update_begin(message: Message, firmware: FirmwareProfile) -> list[Message]:
    if firmware.update_refusal_token:
        return [response(message, firmware.update_refusal)]
    return [coded_ack(message.message_id, firmware.update_refusal)]


def _chunk(message: Message, firmware: FirmwareProfile) -> list[Message]:
    return [empty_ack(message.message_id)] if firmware.acks_stray_chunks else []


def _update_done(message: Message, _firmware: FirmwareProfile) -> list[Message]:
    """No chunk is missing where none was expected."""
    return [response(message, Code.CHANGED)]


_ANSWERS: Final[dict[Kind, Callable[[Message, FirmwareProfile], list[Message]]]] = {
    Kind.PING: _ping,
    Kind.SIGNAL: _signal,
    Kind.KEY_CHANGE: _key_change,
    Kind.HELLO: _hello,
    Kind.DESCRIBE_REQUEST: _describe,
    Kind.FUNCTION_CALL: _function,
    Kind.VARIABLE_REQUEST: _variable,
    Kind.UPDATE_BEGIN: _update_begin,
    Kind.SAVE_BEGIN: _update_begin,
    Kind.CHUNK: _chunk,
    Kind.UPDATE_DONE: _update_done,
}
