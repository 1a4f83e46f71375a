"""What is known of each firmware, as data: one profile a version.

Only numbers and rules that change between versions stand here; the cores are the same for all of them. Names are
written ``platform@version``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import sha256
from typing import Final, Literal

from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.versions import Version

_NS_PER_S = 1_000_000_000
_MOST_COUNTED_FAILURES = 255
"""The firmware counts failures in eight bits and stops there."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FirmwareProfile:
    """One firmware version of one platform. Profiles are shared by all devices and compared by identity."""

    name: str
    """``platform@version``."""
    platform_id: int
    """6 Photon, 8 P1; also the product id of a stock build."""
    generation: Literal["sparkprotocol", "lightssl"]
    """Which of the two implementations in Device OS: ``SparkProtocol`` (to 0.7.0 on P1) or ``LightSSLProtocol``."""
    message_id_byteorder: Literal["big", "little"]
    """How the counter of message ids is read from the first two bytes of the salt; the first id is one above it."""
    token_from_salt: bool
    """The first token is the third byte of the salt plus 1; without it tokens start at 1."""
    hello_flags: int
    """Flags byte of Hello in the ordinary case (no update just applied)."""
    plaintext_has_key: bool
    """The device sends its public key with its id: 214 bytes of plaintext instead of 52."""
    timeouts_ns: Mapping[Stage, int]
    """How long the device waits: connect, nonce, key, hello."""
    ping_after_ns: int
    """A ping is sent when nothing has been received for longer than this."""
    ping_timeout_ns: int
    """The session ends when nothing has been received for longer than this after a ping."""
    back_off_unit_ns: int
    """Pause after the first failed connection attempt."""
    back_off_failures: int
    """So many failures in a row have the same pause; after them it doubles."""
    back_off_doublings: int
    """So many times it doubles."""
    events_per_s: int
    """Events of the application that the firmware sends at most within a second."""
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

    @property
    def version(self) -> Version:
        """The version in the name."""
        return Version.parse(self.name.partition("@")[2])

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


_SPARKPROTOCOL_CODES: Final[dict[tuple[Stage, Reason], int]] = {
    # Connect: the negated wiced_result_t of the attempt. Inferred from the tables of the network library, not
    # observed: a refusal arrives as 18 (connection reset); lwIP ignores ICMP errors, so an unreachable host is
    # a timeout, 2, like a silent one.
    (Stage.CONNECT, Reason.REFUSED): -18,
    (Stage.CONNECT, Reason.UNREACHABLE): -2,
    (Stage.CONNECT, Reason.TIMEOUT): -2,
    # Receives: 19 is "connection closed"; after a reset the socket is found inactive, -1; so is a timeout.
    **{(stage, reason): -19 for stage in (Stage.NONCE, Stage.KEY) for reason in (Reason.CLOSED, Reason.SHORT)},
    **{
        (stage, reason): -1
        for stage in (Stage.NONCE, Stage.KEY)
        for reason in (Reason.TIMEOUT, Reason.RESET, Reason.UNREACHABLE)
    },
    (Stage.UNWRAP, Reason.BAD_KEY): 6,
    (Stage.UNWRAP, Reason.BAD_SIGNATURE): 8,
    # Whatever goes wrong between the two Hellos is one error.
    **{
        (Stage.HELLO, reason): -1
        for reason in (
            Reason.CLOSED,
            Reason.SHORT,
            Reason.TIMEOUT,
            Reason.RESET,
            Reason.UNREACHABLE,
            Reason.BAD_FRAME,
            Reason.BAD_HELLO,
        )
    },
}


_APPLICATION_HASH: Final = sha256(b"loadgen").hexdigest().upper()


def _module(size: int, function: str, index: int, version: int, needs: tuple[object, ...]) -> dict[str, object]:
    """One entry of the module list: slot in main flash, all four checks done and passed."""
    return {
        "s": size, "l": "m", "vc": 30, "vv": 30, "f": function, "n": str(index), "v": version, "d": list(needs)
    }  # fmt: skip


def _user_part(size: int, version: int, needs: tuple[object, ...]) -> dict[str, object]:
    """The application, which alone carries the SHA-256 of its module suffix."""
    module = _module(size, "u", 1, version, needs)
    return {**{key: module[key] for key in ("s", "l", "vc", "vv")}, "u": _APPLICATION_HASH, **module}


def _needs(function: str, index: int, version: int) -> dict[str, object]:
    return {"f": function, "n": str(index), "v": version, "_": ""}


P1_0_7_0: Final = FirmwareProfile(
    name="p1@0.7.0",
    platform_id=8,
    generation="sparkprotocol",
    message_id_byteorder="big",
    token_from_salt=True,
    hello_flags=0x00,
    plaintext_has_key=True,
    timeouts_ns={
        Stage.CONNECT: 5 * _NS_PER_S,
        Stage.NONCE: 20 * _NS_PER_S,
        Stage.KEY: 20 * _NS_PER_S,
        Stage.HELLO: 2 * _NS_PER_S,
    },
    ping_after_ns=15 * _NS_PER_S,
    ping_timeout_ns=10 * _NS_PER_S,
    back_off_unit_ns=_NS_PER_S,
    back_off_failures=5,
    back_off_doublings=7,
    events_per_s=4,
    closes_on_unknown_code=True,
    acks_confirmable_hello=False,
    max_frame=800,
    default_product_version=0xFFFF,
    device_codes=_SPARKPROTOCOL_CODES,
    session_codes={Reason.CLOSED: -19, Reason.RESET: -1},
    functions=("digitalread", "digitalwrite", "analogread", "analogwrite"),
    modules=(
        _module(16384, "b", 0, 101, ()),
        _module(262144, "s", 1, 207, (_needs("s", 2, 207),)),
        _module(262144, "s", 2, 207, (_needs("s", 1, 207), _needs("b", 0, 101))),
        _user_part(131072, 5, (_needs("s", 2, 207),)),
        {"s": 131072, "l": "f", "vc": 30, "vv": 0, "d": []},
    ),
)
"""Device OS 0.7.0 on a P1: the last version of the ``SparkProtocol`` implementation."""

PROFILES: Final[dict[str, FirmwareProfile]] = {profile.name: profile for profile in (P1_0_7_0,)}
"""Every firmware that can be simulated, by name."""


def firmware(name: str) -> FirmwareProfile:
    """The profile called ``name``. Raises :class:`ValueError`, naming the nearest one, where there is none."""
    profile = PROFILES.get(name)
    if profile is not None:
        return profile
    near = get_close_matches(name, PROFILES, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(PROFILES))}"
    raise ValueError(f"unknown firmware {name!r}; {hint}")
