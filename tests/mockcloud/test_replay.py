from __future__ import annotations

import os

import pytest

from loadgen.crypto.openssl import OpenSSLBackend
from loadgen.errors import UsageError
from loadgen.mockcloud import replay
from loadgen.protocol.events import UnwrapKey
from tests.mockcloud.peer import BACKEND, device_keys, device_spki, server_key, server_spki


def test_answers_are_genuine_and_all_different() -> None:
    answers = replay.prepare(OpenSSLBackend, server_key(), device_spki(), 11)
    device, server = BACKEND.load_device_key(device_keys()[0]), BACKEND.load_server_public_key(server_spki())
    opened = BACKEND.unwrap_key([UnwrapKey(device, server, reply) for reply, _ in answers])
    assert opened == [material for _, material in answers]
    assert len({material for _, material in answers}) == 11


def test_they_travel_through_shared_memory() -> None:
    answers = [(bytes([number]) * 384, bytes([number]) * 40) for number in range(3)]
    descriptor = replay.write_memory(answers)
    assert replay.read_memory(descriptor) == answers
    os.close(descriptor)


def test_each_worker_begins_elsewhere_and_comes_round() -> None:
    answers = [(bytes([number]), b"") for number in range(4)]
    cycle = replay.Cycle(answers, worker=1, workers=2)
    assert [cycle.take()[0][0] for _ in range(6)] == [2, 3, 0, 1, 2, 3]


def test_a_key_that_cannot_be_used_is_the_users_business() -> None:
    with pytest.raises(UsageError, match="public key"):
        replay.prepare(OpenSSLBackend, server_key(), bytes(162), 1)
