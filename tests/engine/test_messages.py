"""The line between parent and worker: framing and counts."""

from __future__ import annotations

from loadgen.engine.messages import Begin, Counts, Progress, Stop, Unpacker, from_parent, from_worker, pack


def test_messages_survive_any_segmentation() -> None:
    stream = pack(Begin(123)) + pack(Stop(0)) + pack(Begin(1 << 62))
    for size in (1, 2, 3, 7, len(stream)):
        unpacker = Unpacker()
        bodies = [body for at in range(0, len(stream), size) for body in unpacker.feed(stream[at : at + size])]
        assert [from_parent.decode(body) for body in bodies] == [Begin(123), Stop(0), Begin(1 << 62)]


def test_progress_round_trip() -> None:
    progress = Progress(1, b"rows", b"", b"x", Counts(started=3, completed=2, failed=1), 4, 5, 6, finished=True)
    (body,) = Unpacker().feed(pack(progress))
    assert from_worker.decode(body) == progress


def test_counts_add_field_by_field() -> None:
    total = sum([Counts(intended=2, started=2, in_flight=1), Counts(intended=3, started=1, sessions=4)], Counts())
    assert total == Counts(intended=5, started=3, in_flight=1, sessions=4)
