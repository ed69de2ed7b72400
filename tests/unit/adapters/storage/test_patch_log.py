"""However the writer ends, every confirmed record is in the log once, complete and in order."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charon.adapters.storage.patch_log import PatchLog
from charon.adapters.storage.records import HEADER_BYTES
from charon.errors import UnavailableError

payload_lists = st.lists(st.binary(max_size=300), max_size=12)


def payloads_of(log):
    return [record.payload for record in log.replay()]


@settings(max_examples=30, deadline=None)
@given(st.lists(payload_lists, max_size=5), st.sampled_from([200, 1000, 1 << 20]))
def test_replay_keeps_order_across_segments(tmp_path_factory, batches, segment_bytes):
    folder = tmp_path_factory.mktemp("log")
    locations = []
    with PatchLog(folder, segment_bytes=segment_bytes) as log:
        for batch in batches:
            locations += log.append_many(batch)
        expected = [payload for batch in batches for payload in batch]
        assert payloads_of(log) == expected
        assert [log.read(location).payload for location in locations] == expected
    with PatchLog(folder, segment_bytes=segment_bytes) as log:
        assert payloads_of(log) == expected
        assert log.recovery.torn_bytes == 0
        if locations:
            assert [r.location for r in log.replay(locations[-1])] == locations[-1:]


def test_log_cut_at_any_byte_keeps_whole_records(tmp_path):
    payloads = [bytes([k]) * (7 + 5 * k) for k in range(6)]
    with PatchLog(tmp_path / "full") as log:
        locations = log.append_many(payloads)
    content = (tmp_path / "full" / "00000000.log").read_bytes()
    ends = [loc.offset + HEADER_BYTES + len(p) for loc, p in zip(locations, payloads, strict=True)]
    for cut in range(len(content) + 1):
        folder = tmp_path / "cut"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "00000000.log").write_bytes(content[:cut])
        complete = [p for p, end in zip(payloads, ends, strict=True) if end <= cut]
        with PatchLog(folder, fsync="off") as log:
            assert payloads_of(log) == complete
            valid_bytes = max([8, *(end for end in ends if end <= cut)])
            assert log.recovery.torn_bytes == (max(0, cut - valid_bytes) if cut >= 8 else 0)
            log.append_many([b"next"])
            assert payloads_of(log) == [*complete, b"next"]


def test_damage_affects_only_its_own_record(tmp_path, caplog):
    payloads = [os.urandom(50) for _ in range(5)]
    with PatchLog(tmp_path) as log:
        locations = log.append_many(payloads)
    path = tmp_path / "00000000.log"
    content = bytearray(path.read_bytes())
    content[locations[2].offset + HEADER_BYTES + 3] ^= 1
    path.write_bytes(content)
    with PatchLog(tmp_path) as log:
        assert payloads_of(log) == payloads[:2] + payloads[3:]
        assert "damaged" in caplog.text
        with pytest.raises(UnavailableError, match=r"00000000\.log"):
            log.read(locations[2])


def test_second_writer_error_names_first_pid(tmp_path):
    with PatchLog(tmp_path), pytest.raises(UnavailableError, match=f"another process, id {os.getpid()}"):
        PatchLog(tmp_path)
    PatchLog(tmp_path).close()


WRITER = """
import sys
from pathlib import Path
from charon.adapters.storage.patch_log import PatchLog
log = PatchLog(Path(sys.argv[1]), fsync="off", segment_bytes=300_000)
k = sum(1 for _ in log.replay())
while True:
    batch = [b"%d:" % (k + j) + bytes([(k + j) % 251]) * ((k + j) * 37 % 9000) for j in range(1 + k % 7)]
    log.append_many(batch)
    k += len(batch)
    sys.stdout.write(f"{k}\\n")
    sys.stdout.flush()
"""


def test_killed_writer_keeps_confirmed_records(tmp_path):
    rng = random.Random(3)
    confirmed = 0
    for _ in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.08))
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
        writer.stdout.close()
        writer.wait()
        confirmed = max([confirmed, *(int(line) for line in rest[:-1] if line)])
        with PatchLog(tmp_path, fsync="off") as log:
            replayed = payloads_of(log)
        assert len(replayed) >= confirmed
        for k, payload in enumerate(replayed):
            assert payload == b"%d:" % k + bytes([k % 251]) * (k * 37 % 9000)
    assert confirmed > 50


LIMITED = """
import resource, sys
from pathlib import Path
from charon.adapters.storage.patch_log import PatchLog
from charon.errors import UnavailableError
log = PatchLog(Path(sys.argv[1]), segment_bytes=1 << 30)
log.append_many([b"a" * 1000] * 3)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
try:
    log.append_many([b"b" * 3000] * 4)
except UnavailableError as error:
    print(error)
print(len(list(log.replay())), (Path(sys.argv[1]) / "00000000.log").stat().st_size)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.append_many([b"b" * 3000] * 4)
print(len(list(log.replay())))
"""


def test_failed_append_leaves_no_trace(tmp_path):
    result = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True)
    error, after_failure, after_retry = result.stdout.splitlines()
    assert error.startswith(f"cannot write {tmp_path / '00000000.log'}: ")
    assert after_failure == f"3 {8 + 3 * (HEADER_BYTES + 1000)}"
    assert after_retry == "7"


def append_succeeds(log, payloads):
    try:
        log.append_many(payloads)
    except UnavailableError:
        return False
    return True


def test_full_disk_raises_and_log_recovers(small_disk):
    disk = small_disk(1)
    ballast = disk / "ballast"
    with PatchLog(disk / "log", segment_bytes=200_000) as log:
        log.append_many([b"x" * 1000] * 10)
        ballast.write_bytes(bytes(700_000))
        written = 10
        while append_succeeds(log, [b"y" * 10_000] * 3):
            written += 3
        with pytest.raises(UnavailableError, match=r"cannot write .*log/0000000\d\.log: No space left"):
            log.append_many([b"y" * 10_000] * 3)
        assert len(payloads_of(log)) == written
        ballast.unlink()
        log.append_many([b"z" * 10_000] * 3)
        assert len(payloads_of(log)) == written + 3
    with PatchLog(disk / "log") as log:
        assert log.recovery.torn_bytes == 0
        assert len(payloads_of(log)) == written + 3


def test_invalid_folder_raises_with_its_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="file/log"):
        PatchLog(Path(tmp_path) / "file" / "log")
