#!/usr/bin/env python3
"""The power goes in the middle of load: with durability sync every acknowledged heartbeat is there.

Goal: a real file system in a loop-mounted image is shut down without flushing its log (what was
synced stays, what was not is gone), several times on one data folder; after each start everything
that was acknowledged is there and the folder is whole.
"""
# timeout: 240
import fcntl
import os
import random
import shutil
import struct
import subprocess
import tempfile
import time

import harness
from harness import Mount, Server, Skip, command, rounds, run, seed
from load import Ledger, Load

LONG = {"alive_window": "12h", "hidden_window": "12h", "viewing_gap": "24h"}
# linux/fs/ext4/ext4.h: EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH.
EXT4_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2


def power_off(folder):
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
    except OSError as failure:
        raise Skip(f"the file system cannot be shut down: {failure}") from None
    finally:
        os.close(fd)


def power_cut_rounds(image, durability, check):
    """Power cuts in the middle of load; check(server, load) after each start."""
    start = seed()
    choice = random.Random(start)
    load = None
    with Mount("-o", "loop", image) as disk:
        with Server("--durability", durability, data=os.path.join(disk.folder, "data"),
                    **LONG) as server:
            for number in range(rounds(12)):
                if number > 0:
                    server.start()
                    check(server, load)
                load = Load(server.address, "power", f"cut-{number}", seed=start + number,
                            seconds=5).start()
                time.sleep(choice.uniform(0.02, 0.25))
                off = time.monotonic()
                power_off(disk.folder)
                load.stopping.set()
                server.kill()
                load.stop()
                # A machine without power answers nothing.  This kernel does: an fdatasync that is
                # under way while the file system is shut down may return 0 for what it throws away.
                load.doubt_since(off)
                disk.unmount()
                disk.mount()
            server.start()
            check(server, load)
            assert server.terminate() == 0
            command("check", "--data", server.data)


def with_image(test):
    harness.need_private_mounts()
    if shutil.which("mkfs.ext4") is None:
        raise Skip("there is no mkfs.ext4")
    folder = tempfile.mkdtemp(prefix="novabeat-power-")
    try:
        image = os.path.join(folder, "image")
        with open(image, "wb") as sparse:
            sparse.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        test(image)
    finally:
        shutil.rmtree(folder)


def test_sync_loses_nothing():
    """With durability sync a power cut loses nothing that was acknowledged"""
    ledger = Ledger("power")
    with_image(lambda image: power_cut_rounds(image, "sync", ledger.check))
    assert len(ledger.viewers) > 20, "the load did not get through"
    print(f"# {len(ledger.viewers)} viewers outlived the cuts")


def test_os_starts_again():
    """With durability os a power cut may lose the newest heartbeats, and the server starts"""
    def check(server, load):
        counted = server.attended("power")
        assert counted >= 0
        server.beat_ok("after", load.prefix)

    with_image(lambda image: power_cut_rounds(image, "os", check))


if __name__ == "__main__":
    harness.in_private_mounts()
    run(test_sync_loses_nothing, test_os_starts_again)
