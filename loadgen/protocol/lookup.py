"""From what somebody has in hand (a number, a constant, an ending, a log line) to the topics that explain it."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

from loadgen.protocol.causes import CAUSES
from loadgen.protocol.error_numbers import END, FIRST
from loadgen.protocol.firmware import PROFILES, firmware
from loadgen.protocol.firmware_log import LOG_TEXTS, Level, LogEvent, LogLine, Recognised, parse_line, recognise
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.system_errors import DEVICE_CODES
from loadgen.protocol.topics import SESSION, Topic, all_ends, cause_topic, ending_topic, happens, number_topics
from loadgen.protocol.versions import Version

_NUMBER: Final = r"[+-]?(?:0x[0-9a-f]+|[0-9]{1,9})"
_PLACED: Final = re.compile(
    rf"(?:(?P<place>[a-z_]+)(?:\s+|=))?(?P<number>{_NUMBER})(?:\s+(?:at|in|@)\s+(?P<at>[a-z_]+))?", re.I
)
_PREFIXES: Final = ("WICED_", "SYSTEM_ERROR_", "MBEDTLS_ERR_RSA_", "TROPICSSL_ERR_RSA_", "TCPIP_")
_LATER_NAMES: Final = {"IO_ERROR_GENERIC": "IO_ERROR"}
_E = LogEvent
_FEWEST_LETTERS: Final = 6
"""A piece of a log line shorter than this fits too many."""

_EVENT_ENDS: Final[dict[LogEvent, tuple[tuple[Stage | None, Reason], ...]]] = {
    _E.HELLO_FAILED: ((Stage.HELLO, Reason.TIMEOUT), (Stage.HELLO, Reason.CLOSED)),
    _E.SET_KEY_FAILED: ((Stage.UNWRAP, Reason.BAD_KEY), (Stage.UNWRAP, Reason.BAD_SIGNATURE)),
    _E.NONCE_FAILED: ((Stage.NONCE, Reason.CLOSED), (Stage.NONCE, Reason.TIMEOUT)),
    _E.KEY_FAILED: ((Stage.KEY, Reason.CLOSED), (Stage.KEY, Reason.TIMEOUT), (Stage.KEY, Reason.RESET)),
    _E.DECRYPT_FAILED: ((Stage.UNWRAP, Reason.BAD_KEY),),
    _E.SIGNATURE_FAILED: ((Stage.UNWRAP, Reason.BAD_SIGNATURE),),
    _E.CONNECT_FAILED: ((Stage.CONNECT, Reason.REFUSED), (Stage.CONNECT, Reason.TIMEOUT)),
    _E.SOCKET_FAILED: ((Stage.CONNECT, Reason.REFUSED), (Stage.CONNECT, Reason.TIMEOUT)),
    _E.NO_PONG: ((None, Reason.PING_TIMEOUT),),
    _E.UNKNOWN_MESSAGE: ((None, Reason.BAD_HELLO),),
    _E.RECEIVE_TIMEOUT: ((Stage.NONCE, Reason.TIMEOUT), (Stage.KEY, Reason.TIMEOUT)),
    _E.RECEIVE_ERROR: ((None, Reason.CLOSED), (None, Reason.RESET)),
    _E.SESSION_ENDED: ((None, Reason.CLOSED), (None, Reason.PING_TIMEOUT), (None, Reason.BAD_HELLO)),
    _E.LOOP_ERROR: ((None, Reason.CLOSED), (None, Reason.PING_TIMEOUT)),
}
"""Lines without a usable number: the endings that they tell of."""
_EVENT_CAUSES: Final[dict[LogEvent, str]] = {
    _E.ADDRESS_DEFAULT: "address-erased",
    _E.ADDRESS_RESTORED: "address-erased",
    _E.KEY_RESTORED: "blank-server-key",
    _E.NOT_RESOLVED: "name-not-resolved",
    _E.NO_SERVER_ADDRESS: "name-not-resolved",
    _E.INTERNET_FAILED: "network-down",
    _E.CLOUD_UNREACHABLE: "wrong-address",
}
_COLOURS: Final[dict[str, tuple[tuple[Stage | None, Reason], ...]]] = {
    "orange": ((Stage.UNWRAP, Reason.BAD_KEY), (Stage.CONNECT, Reason.REFUSED), (Stage.CONNECT, Reason.UNREACHABLE)),
    "magenta": ((Stage.UNWRAP, Reason.BAD_SIGNATURE),),
    "red": ((Stage.NONCE, Reason.CLOSED), (Stage.KEY, Reason.CLOSED), (Stage.KEY, Reason.TIMEOUT),
            (Stage.HELLO, Reason.TIMEOUT)),
}  # fmt: skip


class UnknownTopicError(ValueError):
    """Nothing is known under these words.

    Args:
        text: what was asked.
        nearest: what may have been meant; empty where nothing is near.
    """

    def __init__(self, text: str, nearest: tuple[str, ...]) -> None:
        super().__init__(text, nearest)
        self.text = text
        self.nearest = nearest


def look_up(text: str, version: Version | None = None) -> tuple[Topic, ...]:
    """The topics that explain ``text``, the best first.

    Args:
        text: a number (``-19``, ``0x7ffff``), a number and its stage (``-19 at key``), an ending (``key/closed``,
            ``session/reset``, ``key/closed/-19``), a stage or a reason, a constant (``DECRYPTION_ERROR``), the name of
            a cause, a colour of the LED, or a line of a device's log, whole or in part.
        version: of the firmware; None for all.

    Raises:
        UnknownTopicError: nothing is known of it, or this version prints no such thing.
    """
    words = text.replace("\N{MINUS SIGN}", "-").replace("\N{EN DASH}", "-").strip().strip("\"'`").strip()
    for find in (_numbers, _endings, _words, _constants, _log_line):
        found = find(words, version)
        if found:
            return found
    raise UnknownTopicError(text.strip(), _nearest(words))


def version_of(name: str) -> Version:
    """The version in the name of a firmware: a profile, or another version of P1 or Photon.

    Raises:
        ValueError: there is none, with the nearest that is known.
    """
    platform, _, text = name.partition("@")
    if platform in {"p1", "photon"} and name not in PROFILES:
        try:
            version = Version.parse(text)
        except ValueError:
            version = END
        if FIRST <= version < END:
            return version
    return firmware(name).version


# --- one way of asking each


def _numbers(words: str, version: Version | None) -> tuple[Topic, ...]:
    match = _PLACED.fullmatch(words)
    if match is None:
        return ()
    place = (match["at"] or match["place"] or "").lower()
    places = None if place in {"", "code"} else _places(place)
    if places is not None and not places:
        return ()
    return number_topics(
        int(match["number"], 0 if "x" in match["number"].lower() else 10), version=version, places=places
    )


def _places(word: str) -> frozenset[Stage | None]:
    if word == SESSION:
        return frozenset({None})
    return frozenset({Stage(word)}) if word in _stages() else frozenset()


def _stages() -> set[str]:
    return {end[0].value for end in all_ends() if end[0] is not None}


def _endings(words: str, version: Version | None) -> tuple[Topic, ...]:
    parts = words.lower().split("/")
    if len(parts) not in {2, 3}:
        return ()
    ends = [end for end in all_ends() if (end[0] or SESSION, end[1]) == (parts[0], parts[1]) and happens(end, version)]
    topics = tuple(ending_topic(end, version=version) for end in ends)
    if len(parts) == 3 and topics:
        topics = (*topics, *_numbers(f"{parts[2]} at {parts[0]}", version)) if re.fullmatch(_NUMBER, parts[2]) else ()
    return topics


def _words(words: str, version: Version | None) -> tuple[Topic, ...]:
    word = words.lower()
    if word in CAUSES:
        return (cause_topic(CAUSES[word]),)
    colour = word.removesuffix(" led").removesuffix(" flash")
    if colour in _COLOURS:
        return tuple(ending_topic(end, version=version) for end in _COLOURS[colour])
    if words != word:  # constants are in capitals
        return ()
    ends = [end for end in all_ends() if word in {end[0] or SESSION, end[1]} and happens(end, version)]
    return tuple(ending_topic(end, version=version) for end in ends)


def _constants(words: str, version: Version | None) -> tuple[Topic, ...]:
    word = words.upper().rpartition("::")[2].replace(" ", "_")
    word = _LATER_NAMES.get(word, word)
    codes = [code for code in DEVICE_CODES if code.name and word in {code.name, _short(code.name)}]
    topics = [
        topic
        for value in dict.fromkeys(code.value for code in codes)
        for topic in number_topics(value)
        if topic.name in {code.name for code in codes}
    ]
    if version is None:
        return tuple(topics)
    known = {topic.title: topic for code in codes for topic in number_topics(code.value, version=version)}
    return tuple(known.get(topic.title, topic) for topic in topics)


def _short(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


# --- log lines


def _log_line(words: str, version: Version | None) -> tuple[Topic, ...]:
    found = [
        known
        for line in _readings(words)
        for known in recognise(line)
        if version is None or known.since <= version < known.before
    ]
    topics: list[Topic] = []
    for known in found:
        topics += _told_by(known, version)
    if not found and len(words) >= _FEWEST_LETTERS:
        piece = words.lower().rstrip(":,. ")
        events = dict.fromkeys(text.event for text in LOG_TEXTS if piece in text.text.lower())
        for event in events if len(events) <= 3 else ():
            topics += _about(event, version)
    return tuple({topic.title: topic for topic in reversed(topics)}.values())[::-1]


def _readings(words: str) -> list[LogLine]:
    line = parse_line(words)
    if line is not None:
        return [line]
    bare = re.sub(r"^(?:\[[^\]]*\] )?(?:TRACE|INFO|WARN|ERROR|PANIC)\s*: ", "", words)
    return [LogLine(0, level, "", bare, old=old) for level in Level for old in (False, True)]


def _told_by(known: Recognised, version: Version | None) -> tuple[Topic, ...]:
    numbers = [int(value) for value in known.values if isinstance(value, int) or value.isdigit()]
    topics: tuple[Topic, ...] = ()
    if numbers:
        topics = number_topics(numbers[-1], version=version, events=frozenset({known.event}))
        if version is None:  # only the generations that print this very line
            since = number_topics(numbers[-1], version=known.since, events=frozenset({known.event}))
            titles = {topic.title for topic in since}
            topics = tuple(topic for topic in topics if not titles or topic.title in titles)
    return topics or _about(known.event, version)


def _about(event: LogEvent, version: Version | None) -> tuple[Topic, ...]:
    if event in _EVENT_CAUSES:
        return (cause_topic(CAUSES[_EVENT_CAUSES[event]]),)
    return tuple(ending_topic(end, version=version) for end in _EVENT_ENDS.get(event, ()))


# --- what there is


def known_words() -> tuple[str, ...]:
    """Everything that can be asked for by name: endings, causes, constants, colours."""
    ends = [f"{end[0] or SESSION}/{end[1]}" for end in all_ends()]
    names = dict.fromkeys(code.name for code in DEVICE_CODES if code.name)
    return (*ends, *CAUSES, *names, *_COLOURS)


def _nearest(words: str) -> tuple[str, ...]:
    if re.fullmatch(_NUMBER, words):
        value = int(words, 0 if "x" in words.lower() else 10)
        values = {code.value for code in DEVICE_CODES}
        return (str(-value),) if -value in values and value else ()
    known = {word.lower(): word for word in known_words()}
    known |= {_short(word).lower(): word for word in known_words()}
    known |= {text.text.partition("%")[0].strip().lower(): text.text.partition("%")[0].strip() for text in LOG_TEXTS}
    near = get_close_matches(words.lower(), known, n=3, cutoff=0.5)
    return tuple(dict.fromkeys(known[word] for word in near))[:2]
