"""What a device answers, version by version, byte by byte."""

from __future__ import annotations

import json
import struct

import pytest

from loadgen.protocol import coap
from loadgen.protocol.answers import describe_document, device_replies, ends_session
from loadgen.protocol.application import FUNCTIONS, VARIABLES
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.firmware import P1_0_7_0, PROFILES, FirmwareProfile, firmware
from loadgen.protocol.reasons import HandshakeError, Reason
from tests.fakes import pull
from tests.protocol.scripted import Sealer, device_in_session, message, messages, sends

ALL = [*PROFILES.values()]
FIRST_ID = {"big": 0x8486, "little": 0x8585}
"""Of Hello; the salt of the fake's material begins 84 85."""


def serve(device: DeviceConnection) -> list[bytes]:
    """Answer what has come as the shell does; the frames that are sent."""
    for received in messages(pull(device)):
        for reply in device_replies(received, device.firmware):
            device.send_message(reply)
    return sends(pull(device))


def answers(profile: FirmwareProfile, received: str) -> list[str]:
    """The messages, hex, that a device in session sends for one; ``n`` in an id stands for Hello's id plus n."""
    device, cloud, _own = device_in_session(profile)
    assert device.session is not None
    own = Sealer(iv=device.session._iv_out)  # behind a Hello that differs from version to version
    device.receive_data(cloud.frame(received))
    plain = [data for frame in serve(device) for data in own.read(frame)]
    first = FIRST_ID[profile.message_id_byteorder]
    return [_relative(data, first) for data in plain]


def _relative(data: bytes, first: int) -> str:
    message_id = int.from_bytes(data[2:4], "big")
    own = f"+{message_id - first:03d}" if 0 < message_id - first < 100 else f"{message_id:04x}"
    return data[:2].hex() + own + data[4:].hex()


PING, SIGNAL, KEY_CHANGE, DESCRIBE = "40001234", "41031234aab1734101", "41031234aab16b4101", "41011234aab164"


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (PING, ["60001234"]),
        (SIGNAL, ["61441234aa"]),
        ("60001234", []),
        ("6100123400", []),
        ("70001234", []),
        ("50022001b168", []),
        ("40022001b168", []),
        ("4002a06db16506737061726b78ff7061796c6f6164", []),
        ("614510adc8ff6b02f568", []),
        (KEY_CHANGE, []),
        ("41021234aab1660361626340", ["60001234"]),  # no such function
    ],
)
def test_the_last_of_the_old_implementation(received: str, expected: list[str]) -> None:
    assert answers(P1_0_7_0, received) == expected


@pytest.mark.parametrize("name", ["p1@0.8.0-rc.1", "p1@1.0.1", "p1@1.5.2", "p1@2.3.1", "p1@3.3.1"])
def test_the_new_implementation_forgets_the_id_of_what_it_answers_in_place(name: str) -> None:
    profile = firmware(name)
    assert answers(profile, PING) == ["6000+001"]
    assert answers(profile, SIGNAL) == ["6144+001aa"]
    assert answers(profile, KEY_CHANGE) == ["6000+001"]
    assert answers(profile, "5103" + KEY_CHANGE[4:]) == []
    assert answers(profile, "40022001b168") == ["60002001"]
    assert answers(profile, "50022001b168") == []


# --- describe


@pytest.mark.parametrize("profile", ALL, ids=lambda profile: profile.name)
def test_describe(profile: FirmwareProfile) -> None:
    (first, *rest) = answers(profile, DESCRIBE)
    how = profile.describes
    if how == "separate":
        assert first == "60001234"
        (document,) = rest
        assert document.startswith("4145+001aaff")
    else:
        assert first.startswith("61451234aaff")
        document = first
    parts = json.loads(bytes.fromhex(document.split("aaff", 1)[1]))
    assert list(parts) == ["f", "v", "p", "m"]
    assert parts["p"] == profile.platform_id
    if how == "twice":
        (again,) = rest
        assert list(json.loads(bytes.fromhex(again[12:]))) == ["f", "v"]
    elif how != "separate":
        assert rest == []


def test_the_second_document_has_an_id_made_of_ciphertext() -> None:
    profile = firmware("p1@0.5.5")
    device, cloud, own = device_in_session(profile)
    device.receive_data(cloud.frame(DESCRIBE))
    first, second = serve(device)
    own.read(first)
    (plain,) = own.read(second)
    assert plain[:6] == b"\x61\x45" + first[2:4] + b"\xaa\xff"
    # Neither takes an id of the counter.
    device.receive_data(cloud.frame(DESCRIBE))
    serve(device)
    assert device.send_message(coap.ping()) == FIRST_ID["big"] + 1


@pytest.mark.parametrize(
    ("name", "selector", "keys"),
    [
        ("p1@0.5.5", 1, ["f", "v", "p", "m"]),
        ("p1@0.6.4", 1, ["p", "m"]),
        ("p1@0.7.0", 2, ["f", "v"]),
        ("p1@0.7.0", 3, ["f", "v", "p", "m"]),
        ("p1@0.7.0", 4, ["f", "v", "p", "m"]),
        ("p1@0.7.0", 0, ["f", "v", "p", "m"]),
        ("p1@1.0.1", 1, ["p", "m"]),
        ("p1@1.0.1", 9, ["f", "v", "p", "m"]),
        ("p1@2.3.1", 2, ["f", "v"]),
    ],
)
def test_parts_of_the_document(name: str, selector: int, keys: list[str]) -> None:
    document = answers(firmware(name), f"{DESCRIBE}41{selector:02x}")
    chosen = document[1] if name == "p1@2.3.1" else document[0]
    assert list(json.loads(bytes.fromhex(chosen.split("aaff", 1)[1]))) == keys


def test_metrics_are_binary_and_none() -> None:
    assert answers(firmware("p1@1.0.1"), DESCRIBE + "4104") == ["61451234aaff000400"]
    assert answers(firmware("p1@2.0.0"), DESCRIBE + "4104") == ["60001234", "4145+001aaff000400"]


@pytest.mark.parametrize("profile", ALL, ids=lambda profile: profile.name)
def test_the_document_has_the_structure_of_the_firmware(profile: FirmwareProfile) -> None:
    data = describe_document(profile)
    assert b" " not in data
    assert len(data) + 6 < profile.max_frame  # the same buffer takes what is received
    document = json.loads(data)
    assert document["f"] == list(FUNCTIONS)
    assert document["v"] == {name: kind for name, (kind, _value) in VARIABLES.items()}
    for module in document["m"]:
        assert list(module)[:4] == ["s", "l", "vc", "vv"]
        if module["vv"]:
            assert isinstance(module["n"], str)
            assert isinstance(module["v"], int)
            for needed in module["d"]:
                assert set(needed) == {"f", "n", "v", "_"}
        if module.get("f") == "u":
            assert list(module)[4] == "u"
            assert len(module["u"]) == 64
            assert module["u"].upper() == module["u"]
        else:
            assert "u" not in module


# --- functions


def call(name: str, argument: bytes) -> str:
    """A function call as a cloud writes it."""
    message = coap.Message(
        coap.CON,
        coap.Code.POST,
        0x1234,
        b"\xaa",
        ((coap.Option.URI_PATH, b"f"), (coap.Option.URI_PATH, name.encode()), (coap.Option.URI_QUERY, argument)),
    )
    return coap.encode(message).hex()


@pytest.mark.parametrize("name", ["p1@0.4.9", "p1@0.7.0", "p1@1.0.1", "p1@2.3.1"])
def test_a_function_is_acknowledged_and_then_answered(name: str) -> None:
    assert answers(firmware(name), call("digitalwrite", b"D7,HIGH")) == ["60001234", "5144+001aaff00000001"]
    assert answers(firmware(name), call("digitalwrite", b"D9,HIGH")) == ["60001234", "5144+001aaffffffffff"]
    assert answers(firmware(name), call("digitalwritf", b"D7,HIGH")) == ["60001234"]


@pytest.mark.parametrize(
    ("name", "longest", "expected"),
    [
        ("p1@0.4.0", 63, ["60011234", "5144+001aaffffffffff"]),
        ("p1@0.7.0", 63, ["60801234", "5144+001aaffffffffff"]),
        ("p1@0.8.0-rc.3", 63, ["60801234"]),
        ("p1@1.0.1", 622, ["60801234"]),
        ("p1@3.3.1", 864, ["60801234"]),
    ],
)
def test_an_argument_that_is_too_long(name: str, longest: int, expected: list[str]) -> None:
    profile = firmware(name)
    assert answers(profile, call("digitalread", b"D0" + b" " * (longest - 2)))[0] == "60001234"
    assert answers(profile, call("digitalread", b"D0" + b" " * (longest - 1))) == expected


@pytest.mark.parametrize(
    ("function", "argument", "result"),
    [
        ("digitalread", b"D0", 0),
        ("digitalread", b"A7", 0),
        ("digitalread", b"B1", -2),
        ("digitalread", b"", -1),
        ("digitalread", b"\xff\xff", -1),
        ("digitalwrite", b"A0 LOW", 1),
        ("digitalwrite", b"D7,ON", -2),
        ("digitalwrite", b"B7,HIGH", -3),
        ("digitalwrite", b"D", -1),
        ("analogread", b"A0", 0),
        ("analogread", b"D0", -3),
        ("analogread", b"B0", -2),
        ("analogread", b"D8", -1),
        ("analogwrite", b"D1,128", 1),
        ("analogwrite", b"B1,128", -2),
        ("analogwrite", b"D8,1", -1),
    ],
)
def test_tinker(function: str, argument: bytes, result: int) -> None:
    assert FUNCTIONS[function](argument) == result


# --- variables


def read(name: str) -> str:
    """A variable request."""
    return f"41011234aab1760{len(name):x}{name.encode().hex()}"


VALUES = {
    "answer": "0000002a",
    "flag": "01",
    "label": b"loadgen".hex(),
    "ratio": struct.pack("<d", 0.5).hex(),
}


@pytest.mark.parametrize("variable", VALUES)
def test_values(variable: str) -> None:
    value = VALUES[variable]
    assert answers(P1_0_7_0, read(variable)) == [f"61451234aaff{value}"]
    assert answers(firmware("p1@1.0.1"), read(variable)) == [f"61451234aaff{value}"]
    assert answers(firmware("p1@1.5.2"), read(variable)) == ["60001234", f"5145+001aaff{value}"]


def test_a_variable_that_there_is_not() -> None:
    assert answers(P1_0_7_0, read("nothing")) == ["61451234aaff20020000"]
    assert answers(firmware("p1@2.0.0"), read("nothing")) == ["60001234", "5184+001aa"]


@pytest.mark.parametrize("received", ["40021234b166066162636465664101", "40011234b17606616e73776572"])
def test_a_request_without_a_token(received: str) -> None:
    for name in ("p1@1.5.2", "p1@3.3.1"):
        assert ends_session(message(received), firmware(name))
        device, cloud, _own = device_in_session(firmware(name))
        device.receive_data(cloud.frame(received))
        with pytest.raises(HandshakeError) as caught:
            pull(device)
        assert caught.value.reason is Reason.BAD_HELLO
        assert firmware(name).device_code(caught.value.stage, caught.value.reason, in_session=True) == 28
    for name in ("p1@0.7.0", "p1@1.0.1"):
        assert not ends_session(message(received), firmware(name))
        assert answers(firmware(name), received)


# --- updates


@pytest.mark.parametrize(
    ("name", "refused", "chunk"),
    [
        ("p1@0.4.0", "60011234", ["60001234"]),
        ("p1@0.5.5", "60801234", ["60001234"]),
        ("p1@0.7.0", "60801234", []),
        ("p1@1.0.1", "60801234", []),
        ("p1@2.3.1", "61a31234aa", []),
    ],
)
def test_updates_are_refused(name: str, refused: str, chunk: list[str]) -> None:
    begin = "01020000010000000000000000"
    assert answers(firmware(name), f"41021234aab175ff{begin}") == [refused]
    assert answers(firmware(name), f"41021234aab173ff{begin}") == [refused]
    assert answers(firmware(name), "51021234aab1634412345678ff00") == chunk
    assert answers(firmware(name), "41031234aab175") == ["61441234aa"]


# --- what it does not know


@pytest.mark.parametrize("received", ["60801234", "61441234aa", "41041234aab164", "41021234aab17a"])
@pytest.mark.parametrize("profile", ALL, ids=lambda profile: profile.name)
def test_messages_that_it_does_not_know(profile: FirmwareProfile, received: str) -> None:
    device, cloud, _own = device_in_session(profile)
    device.receive_data(cloud.frame(received))
    if profile.closes_on_unknown_code:
        with pytest.raises(HandshakeError):
            pull(device)
    else:
        assert serve(device) == []
        assert device.in_session


def test_the_versions_that_close() -> None:
    closing = {profile.name for profile in ALL if profile.closes_on_unknown_code and profile.platform == "p1"}
    assert closing == {"p1@0.4.9", "p1@0.5.5", "p1@0.6.4", "p1@0.7.0"}


def test_nothing_is_answered_to_what_has_no_answer() -> None:
    for kind in ("60001234", "5002a06cb1650161", "614510adc8ff6b02f568"):
        assert device_replies(message(kind), P1_0_7_0) == []
