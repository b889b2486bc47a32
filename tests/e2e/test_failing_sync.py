#!/usr/bin/env python3
"""fdatasync fails: no further acknowledgement, a clear last word, exit.

Goal: from the failing sync on nothing is acknowledged any more, since the kernel reports a lost
page only once; the server says so and exits with a status that is not 0; a start on the sound disk
finds everything that was acknowledged.  Shown twice: with a sync that strace makes fail, and with
one that really fails because the disk below the file system is full.
"""
# timeout: 240
import os
import shutil
import subprocess
import time

import harness
from harness import Mount, Server, Skip, run, wait_until
from load import Ledger, Load

LONG = {"alive_window": "12h", "hidden_window": "12h", "viewing_gap": "24h"}
# LeakSanitizer cannot look at a process that is traced.
TRACED = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


def last_word(server):
    words = "\n".join(server.log[-10:]).lower()
    assert "sync" in words, f"no last word about the sync: {server.log_text()[-2000:]}"


def test_injected_failure():
    """After a sync that fails nothing is acknowledged, and the server exits"""
    if shutil.which("strace") is None:
        raise Skip("there is no strace")
    ledger = Ledger("sync")
    with Server(environment=TRACED, **LONG) as server:
        before = Load(server.address, "sync", "before").start()
        time.sleep(0.2)
        before.stop()
        assert not before.refused and not before.open
        ledger.viewers.update(before.acknowledged)

        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(server.process.pid),
             "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO"],
            stderr=subprocess.PIPE)
        try:
            traced = f"/proc/{server.process.pid}/status"

            def attached():
                if tracer.poll() is not None:
                    raise Skip("strace may not attach: " +
                               tracer.stderr.read().decode().strip())
                with open(traced, encoding="ascii") as status:
                    return "TracerPid:\t0\n" not in status.read()

            wait_until(attached, "strace is attached")
            time.sleep(0.2)  # to the last thread
            after = Load(server.address, "sync", "after").start()
            status = server.wait()
            after.stop()
        finally:
            tracer.kill()
            tracer.wait()
            tracer.stderr.close()
        assert status != 0, "a failed sync must not end in status 0"
        assert not after.acknowledged, f"acknowledged after a failed sync: {after.acknowledged}"
        last_word(server)
        server.start()
        ledger.check(server, after)


def test_real_failure():
    """A disk that really fails below the file system loses nothing acknowledged"""
    harness.need_private_mounts()
    if shutil.which("mkfs.ext4") is None:
        raise Skip("there is no mkfs.ext4")
    ledger = Ledger("disk")
    with Mount("-t", "tmpfs", "-o", "size=24m", "tmpfs") as small:
        image = os.path.join(small.folder, "image")
        with open(image, "wb") as sparse:
            sparse.truncate(64 << 20)
        harness.shell("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0", image)
        with Mount("-o", "loop", image) as disk:
            with Server(data=os.path.join(disk.folder, "data"), **LONG) as server:
                # Leaves a little: the file system has room, what is below it has not.
                with open(os.path.join(disk.folder, "filler"), "wb") as filler:
                    for _ in range(200):
                        left = os.statvfs(small.folder)
                        if left.f_bavail * left.f_bsize < 3 << 19:
                            break
                        filler.write(b"x" * 131072)
                        filler.flush()
                        os.fsync(filler.fileno())
                load = Load(server.address, "disk", "disk", threads=4, pipelined=64).start()
                status = server.wait(100)
                load.stop()
                assert status != 0, "a failed disk must not end in status 0"
                assert load.acknowledged, "nothing was acknowledged before"
                words = "\n".join(server.log[-10:]).lower()
                assert "sync" in words or "output failed" in words or "disk" in words, words
                print(f"# {len(load.acknowledged)} acknowledged before the disk failed")
                # The disk is mended: room below, and the file system mounted anew.
                disk.unmount()
                harness.shell("mount", "-o", "remount,size=100m", small.folder)
                subprocess.run(["e2fsck", "-p", image], capture_output=True)
                disk.mount()
                os.unlink(os.path.join(disk.folder, "filler"))
                server.start()
                ledger.check(server, load)


if __name__ == "__main__":
    harness.in_private_mounts()
    run(test_injected_failure, test_real_failure)
