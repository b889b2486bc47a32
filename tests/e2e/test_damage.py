#!/usr/bin/env python3
"""A damaged data folder: a cut tail is no harm, damage in the middle is refused and explained.

Goal: with the journal cut at any byte of its last records the server starts and knows all records
before the cut; with a byte flipped in the middle it refuses to start, names file, offset and
sequence, and changes nothing; `novabeat check` says the same, and `check --repair` makes it start
with everything before the damage.  The format is read as docs/JOURNAL.md has it.
"""
# timeout: 240
import glob
import hashlib
import os
import random
import shutil
import struct
import subprocess
import tempfile

from harness import BINARY, Server, rounds, run, seed
from load import attended_of

LONG = {"alive_window": "12h", "hidden_window": "12h", "viewing_gap": "24h"}
SEGMENT_HEADER = 32
RECORD_HEADER = 32
VIEWERS = 120


class Made:
    """A data folder with VIEWERS heartbeats, one record each, whose server was killed."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="novabeat-damage-")
        self.data = os.path.join(self.top, "made")
        self.copies = 0
        with Server(data=self.data, **LONG) as server:
            for number in range(VIEWERS):
                server.beat_ok("damage", f"viewer-{number}")
            server.kill()
        segments = journal_files(self.data)
        assert len(segments) == 1, segments
        self.segment = os.path.relpath(segments[0], self.data)
        with open(segments[0], "rb") as journal:
            self.bytes = journal.read()
        self.records = read_records(self.bytes)

    def copy(self, contents):
        """A copy of the folder with another journal."""
        self.copies += 1
        target = os.path.join(self.top, f"copy-{self.copies}")
        shutil.copytree(self.data, target)
        with open(os.path.join(target, self.segment), "wb") as journal:
            journal.write(contents)
        return target

    def viewers_in(self, records):
        """How many viewers' first heartbeats are in the first so many records."""
        end = self.records[records - 1][1] if records else SEGMENT_HEADER
        return sum(1 for number in range(VIEWERS)
                   if 0 <= self.bytes.find(f"viewer-{number}".encode()) < end)

    def remove(self):
        shutil.rmtree(self.top)


def journal_files(data):
    return sorted(glob.glob(os.path.join(data, "**", "*.journal"), recursive=True))


def read_records(contents):
    """[(start, end, sequence, durable)] of the records of a segment (docs/JOURNAL.md, section 3)."""
    assert contents[:8] == b"NVBTJRNL", contents[:8]
    records = []
    at = SEGMENT_HEADER
    while at + RECORD_HEADER <= len(contents):
        length, _, sequence, _, durable = struct.unpack_from("<IIQqQ", contents, at)
        if length == 0 or at + RECORD_HEADER + length > len(contents):
            break
        records.append((at, at + RECORD_HEADER + length, sequence, durable))
        at += RECORD_HEADER + length
    return records


def digest(folder):
    """Of all files in the folder: names and contents."""
    total = hashlib.sha256()
    for path in sorted(glob.glob(os.path.join(folder, "**", "*"), recursive=True)):
        if os.path.isfile(path):
            total.update(os.path.relpath(path, folder).encode())
            with open(path, "rb") as file:
                total.update(file.read())
    return total.hexdigest()


def check(data, *arguments):
    done = subprocess.run([BINARY, "check", "--data", data, *arguments], capture_output=True,
                          text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode >= 0, f"check was killed by {-done.returncode}: {done.stderr}"
    return done.returncode, done.stdout + done.stderr


def known_prefix(server):
    """How many viewers there are; they must be the first that came."""
    known = attended_of(server, "damage", [f"viewer-{number}" for number in range(VIEWERS)])
    count = len(known)
    assert set(known) == {f"viewer-{number}" for number in range(count)}, sorted(known)
    assert server.attended("damage") == count
    return count


MADE = None  # made once for all tests, by main


def test_cut_tail():
    """The journal cut anywhere in its last records: it starts with all records before the cut"""
    choice = random.Random(seed())
    start = MADE.records[-4][0]
    cuts = sorted(choice.sample(range(start, len(MADE.bytes)), rounds(25)))
    cuts += [MADE.records[-1][0], MADE.records[-1][0] + 1, len(MADE.bytes) - 1]
    for cut in cuts:
        whole = sum(1 for _, end, _, _ in MADE.records if end <= cut)
        expected = MADE.viewers_in(whole)
        with Server(data=MADE.copy(MADE.bytes[:cut]), **LONG) as server:
            count = known_prefix(server)
            # The record store may have heard of what the cut took.
            assert expected <= count <= VIEWERS, f"cut at {cut}: {count}, not {expected}"
            server.beat_ok("damage", "after-the-cut")
            server.kill()
            server.start()
            assert server.attended("damage") == count + 1, f"cut at {cut}, after another kill"


def test_zeros_at_the_end():
    """Zeros after the last record, as a file system may leave them, are cut"""
    with Server(data=MADE.copy(MADE.bytes + bytes(5000)), **LONG) as server:
        assert known_prefix(server) == VIEWERS
        server.beat_ok("damage", "more")
        server.kill()
        server.start()
        assert server.attended("damage") == VIEWERS + 1


def test_garbage_at_the_end():
    """Garbage after the last record is cut"""
    choice = random.Random(seed())
    with Server(data=MADE.copy(MADE.bytes + choice.randbytes(3000)), **LONG) as server:
        assert known_prefix(server) == VIEWERS


def flip(contents, at, bit=0):
    return contents[:at] + bytes([contents[at] ^ (1 << bit)]) + contents[at + 1:]


def middle_records():
    """Records that later ones know to be on the disk."""
    newest = max(durable for _, _, _, durable in MADE.records)
    return [record for record in MADE.records if record[2] <= newest]


def test_damage_in_the_middle():
    """A flipped bit in the middle: refused and explained, nothing changed; repair makes it start"""
    choice = random.Random(seed())
    middle = middle_records()
    assert len(middle) > VIEWERS // 2, "the journal knows hardly any record to be on the disk"
    for _ in range(rounds(8)):
        start, end, sequence, _ = choice.choice(middle[1:])
        at = choice.randrange(start, end)
        where = f"bit flipped at {at} in record {sequence}"
        data = MADE.copy(flip(MADE.bytes, at, choice.randrange(8)))
        journal = os.path.dirname(os.path.join(data, MADE.segment))
        before = digest(journal)

        server = Server(data=data, **LONG)
        server.launch()
        status = server.wait()
        assert status > 0, f"{where}: exit status {status}"
        said = server.log_text()
        assert os.path.basename(MADE.segment) in said, f"{where}: no file named: {said}"
        assert str(sequence) in said and str(start) in said, f"{where}: not named: {said}"
        assert "check" in said, f"{where}: novabeat check is not mentioned: {said}"
        assert digest(journal) == before, f"{where}: the refusing server changed the journal"

        status, said = check(data)
        assert status > 0, f"{where}: check says all is well: {said}"
        assert os.path.basename(MADE.segment) in said and str(sequence) in said, said
        assert digest(journal) == before, f"{where}: check changed the journal"

        status, said = check(data, "--repair")
        assert status == 0, f"{where}: repair failed: {said}"
        assert glob.glob(os.path.join(journal, "*.damaged*")), f"{where}: nothing was kept"
        status, said = check(data)
        assert status == 0, f"{where}: not whole after the repair: {said}"
        with Server(data=data, **LONG) as server:
            whole = MADE.viewers_in(sequence - MADE.records[0][2])
            count = known_prefix(server)
            assert whole <= count <= VIEWERS, f"{where}: {count} known, {whole} before it"
            server.beat_ok("damage", "after-the-repair")
            server.kill()
            server.start()
            assert server.attended("damage") == count + 1


def test_damaged_segment_header():
    """A damaged segment header is refused"""
    for at in (0, 9, 17, 29):
        server = Server(data=MADE.copy(flip(MADE.bytes, at)), **LONG)
        server.launch()
        status = server.wait()
        assert status > 0, f"byte {at}: exit status {status}: {server.log_text()}"
        assert os.path.basename(MADE.segment) in server.log_text(), server.log_text()


def test_other_version():
    """A journal of another version is refused as such and not touched"""
    def crc32c(data):
        value = 0xffffffff
        for byte in data:
            value ^= byte
            for _ in range(8):
                value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        return value ^ 0xffffffff

    header = MADE.bytes[:24] + struct.pack("<I", 2)
    assert struct.unpack_from("<I", MADE.bytes, 28)[0] == crc32c(MADE.bytes[:28])
    data = MADE.copy(header + struct.pack("<I", crc32c(header)) + MADE.bytes[SEGMENT_HEADER:])
    journal = os.path.dirname(os.path.join(data, MADE.segment))
    before = digest(journal)
    server = Server(data=data, **LONG)
    server.launch()
    assert server.wait() > 0
    assert "version" in server.log_text(), server.log_text()
    assert digest(journal) == before
    status, said = check(data, "--repair")
    assert status > 0 and "version" in said, (status, said)
    assert digest(journal) == before


def test_damaged_store():
    """A record store that is no database is refused with a word about it"""
    data = MADE.copy(MADE.bytes)
    stores = [path for path in glob.glob(os.path.join(data, "*")) if os.path.isfile(path)
              and open(path, "rb").read(15) == b"SQLite format 3"]
    assert stores, os.listdir(data)
    with open(stores[0], "r+b") as store:
        store.write(b"This is no database." * 300)
    server = Server(data=data, **LONG)
    server.launch()
    status = server.wait()
    assert status > 0, status
    assert "database" in server.log_text() or "records" in server.log_text(), server.log_text()
    status, said = check(data)
    assert status > 0, said


if __name__ == "__main__":
    MADE = Made()
    try:
        run(test_cut_tail, test_zeros_at_the_end, test_garbage_at_the_end,
            test_damage_in_the_middle, test_damaged_segment_header, test_other_version,
            test_damaged_store)
    finally:
        MADE.remove()
