"""What changes between firmware versions, as one type: the numbers and rules by which a device behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.versions import Version

OTA_CHUNK_SIZE: Final = 512
"""Piece of an update that a device asks for, bytes; the same in every version."""

_MOST_COUNTED_FAILURES = 255
"""The firmware counts failures in eight bits and stops there."""


class BootStep(StrEnum):
    """What a device sends by itself after the cloud's Hello."""

    DESCRIBE_SYSTEM = "describe_system"
    """Its system description, posted."""
    CLAIM_CODE = "claim_code"
    """Where there is one."""
    MAX_BINARY = "max_binary"
    OTA_CHUNK_SIZE = "ota_chunk_size"
    SAFE_MODE = "safe_mode"
    """In safe mode only."""
    SUBSYSTEM = "subsystem"
    """The version of the Wi-Fi firmware."""
    LAST_RESET = "last_reset"
    """Once a boot."""
    UPDATE_FLAGS = "update_flags"
    """Two events: whether updates are enabled, and whether they are forced."""
    SUBSCRIPTIONS = "subscriptions"
    TIME = "time"
    DESCRIBE_APPLICATION = "describe_application"
    """Its application description, posted."""
    KEY_ERROR = "key_error"
    """Where the server's key or address was blank."""


class Describes(StrEnum):
    """How a describe request is answered."""

    ONCE = "once"
    """One acknowledgement with the document; there is no choice of parts."""
    TWICE = "twice"
    """Two: everything, then functions and variables again under an id that is no id: the first two bytes of the
    ciphertext before it."""
    PARTS = "parts"
    """One acknowledgement with the parts asked for."""
    SEPARATE = "separate"
    """An empty acknowledgement, then the document as a confirmable message of its own."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FirmwareProfile:
    """One firmware version of one platform. Profiles are shared by all devices and compared by identity."""

    name: str
    """``platform@version``."""
    platform_id: int
    """0 Core, 6 Photon, 8 P1; also the product id of a stock build."""
    generation: Literal["sparkprotocol", "lightssl"]
    """Which of the two implementations in Device OS: ``SparkProtocol`` (to 0.7.0 on P1) or ``LightSSLProtocol``."""
    message_id_byteorder: Literal["big", "little"]
    """How the counter of message ids is read from the first two bytes of the salt; the first id is one above it."""
    token_from_salt: bool
    """The first token is the third byte of the salt plus 1; without it tokens start at 1."""
    hello_flags: int
    """Flags byte of Hello in the ordinary case (no update just applied)."""
    hello_platform: bool = True
    """Hello ends with the platform id."""
    hello_tail: bytes = b""
    """What follows the platform id from 3.0."""
    plaintext_has_key: bool = True
    """The device sends its public key with its id: 214 bytes of plaintext instead of 52."""
    timeouts_ns: Mapping[Stage, int]
    """How long the device waits: connect, nonce, key, hello."""
    ping_after_ns: int
    """A ping is sent when nothing has been received for longer than this."""
    ping_timeout_ns: int
    """The session ends when nothing has been received for longer than this after a ping."""
    notices_silence: bool = True
    """Without it the device pings for ever and never ends a session over silence."""
    back_off_unit_ns: int
    """Pause after the first failed connection attempt."""
    back_off_failures: int
    """So many failures in a row have the same pause; after them it doubles."""
    back_off_doublings: int
    """So many times it doubles."""
    back_off_less_one: bool = False
    """The old rule: after n failures 2^n - 1 units."""
    events_per_s: int
    """Events of the application that the firmware sends at most within a second."""
    event_data: int
    """Longest data of an event, bytes."""
    boot: tuple[BootStep, ...]
    """What follows Hello, in order."""
    max_binary: int
    """Largest firmware that the device takes, bytes."""
    subscriptions: tuple[str, ...]
    """Prefixes that the system subscribes to."""
    subscribes_own: bool
    """Those subscriptions are for the owner's devices only."""
    subsystem_event: str = ""
    """Name of the event with the version of the Wi-Fi firmware."""
    describes: Describes
    """How a describe request is answered."""
    separate_values: bool
    """A variable is answered by an empty acknowledgement and a message of its own."""
    needs_token: bool
    """The session ends with a function call or variable request that has no token."""
    own_ack_ids: bool
    """Pings and signals are acknowledged under the device's next own id instead of that of the request."""
    function_name: int
    """Longest name of a function or variable, bytes."""
    function_argument: int
    """Longest argument of a function, bytes."""
    bad_request: int
    """Code of the acknowledgement that refuses a function's argument."""
    update_refusal: int
    """Code of the acknowledgement that refuses an update."""
    update_refusal_token: bool
    """That acknowledgement repeats the token."""
    acks_stray_chunks: bool
    """A chunk of no update is acknowledged; otherwise it is dropped."""
    says_goodbye: bool
    """A device that disconnects on purpose says so."""
    closes_on_unknown_code: bool
    """The session ends with a message that the firmware cannot classify; otherwise such a message is dropped."""
    acks_confirmable_hello: bool
    """An empty ACK answers a Hello of the cloud that is CON."""
    max_frame: int
    """Largest ciphertext of a received frame, bytes."""
    default_product_version: int
    """Product version in Hello of a stock build."""
    device_codes: Mapping[tuple[Stage, Reason], int]
    """Value of ``code=`` in the log line "Cloud handshake failed", or of the connect error."""
    session_codes: Mapping[Reason, int]
    """Value that the firmware prints when a session ends; most ends print none."""
    functions: tuple[str, ...] = ()
    """Names in the describe document."""
    variables: Mapping[str, int] = field(default_factory=dict)
    """Name → type (1 bool, 2 int32, 4 string, 9 double) in the describe document."""
    modules: tuple[Mapping[str, object], ...] = ()
    """The module list of the describe document."""
    inferred: tuple[str, ...] = ()
    """What is not known of this version but concluded from others or from its sources, in words."""

    @property
    def version(self) -> Version:
        """The version in the name."""
        return Version.parse(self.name.partition("@")[2])

    @property
    def platform(self) -> str:
        """The platform in the name."""
        return self.name.partition("@")[0]

    @property
    def default_product_id(self) -> int:
        """Product id in Hello of a stock build: its platform id."""
        return self.platform_id

    def message_id_base(self, salt: bytes) -> int:
        """The counter of message ids before the first message (Hello takes the next one)."""
        return int.from_bytes(salt[:2], self.message_id_byteorder)

    def token_base(self, salt: bytes) -> int:
        """The counter of tokens before the first one."""
        return salt[2] if self.token_from_salt else 0

    def back_off_ns(self, failures: int) -> int:
        """Pause before the next attempt to connect, from the end of the last one.

        Args:
            failures: attempts in a row that failed, whether to connect or in the handshake; 0 right after a session
                was lost.
        """
        if failures == 0:
            return 0
        if self.back_off_less_one:
            return self.back_off_unit_ns * ((1 << min(failures, self.back_off_doublings)) - 1)
        doublings = (min(failures, _MOST_COUNTED_FAILURES) - 1) // self.back_off_failures
        return self.back_off_unit_ns << min(doublings, self.back_off_doublings)

    @property
    def silence_ns(self) -> int:
        """Longest time until a device notices that its cloud has gone without a word."""
        return self.ping_after_ns + self.ping_timeout_ns

    def device_code(self, stage: Stage, reason: Reason, in_session: bool = False) -> int | None:
        """What a real device prints for this failure; None where it prints no number, or would not fail."""
        if in_session:
            return self.session_codes.get(reason)
        return self.device_codes.get((stage, reason))
