"""A PostgreSQL server of a scenario's own: on a free port of the loopback, in a folder of its own.

It runs as an unprivileged user, because PostgreSQL refuses root, and is stopped by its pid.  fsync
is off: scenarios kill processes, not machines.  Where it cannot run, Skip says why.
"""
import ctypes
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import Skip

PASSWORD = "pass-word-of-nobody"


def unprivileged():
    """The user and group to run it as; None: ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
        except KeyError:
            pass
    raise Skip("we are root, and there is nobody else to run PostgreSQL as")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    """with Postgres() as postgres: postgres.uri() …"""

    def __init__(self):
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
        if not programs:
            raise Skip("PostgreSQL's server is not installed")
        self.bin = os.path.dirname(programs[-1])
        self.owner = unprivileged()
        self.folder = tempfile.mkdtemp(prefix="novabeat-postgres-")
        if self.owner:
            os.chown(self.folder, *self.owner)
        self.data = os.path.join(self.folder, "data")
        self.port = free_port()
        self.process = None

    def as_owner(self):
        """Arguments of subprocess for a program that runs as its user."""
        arguments = {"cwd": self.folder, "stdin": subprocess.DEVNULL}
        if self.owner:
            arguments.update(user=self.owner[0], group=self.owner[1], extra_groups=[])
        return arguments

    def __enter__(self):
        try:
            subprocess.run([f"{self.bin}/initdb", "-D", self.data, "-U", "tester", "-A", "trust",
                            "-E", "UTF8", "--locale=C", "--no-sync"], check=True,
                           stdout=subprocess.DEVNULL, **self.as_owner())
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def start(self):
        prctl = ctypes.CDLL(None).prctl
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [f"{self.bin}/postgres", "-D", self.data, "-c", "listen_addresses=127.0.0.1",
                 "-c", f"port={self.port}", "-c", "unix_socket_directories=", "-c", "fsync=off"],
                stdout=log, stderr=log, preexec_fn=lambda: prctl(1, signal.SIGQUIT, 0, 0, 0),
                **self.as_owner())
        deadline = time.monotonic() + 60
        while self.sql("SELECT 1", check=False) != "1":
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def stop(self, how=signal.SIGINT):
        """SIGINT: in order; SIGQUIT: at once; SIGKILL: its children notice by themselves."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def signal_all(self, number):
        """The server and every process of its own."""
        pids = [self.process.pid]
        with open(f"/proc/{pids[0]}/task/{pids[0]}/children", encoding="ascii") as children:
            pids += [int(pid) for pid in children.read().split()]
        for pid in pids:
            os.kill(pid, number)

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
            return log.read()[-3000:]

    def uri(self, database="postgres", password=""):
        secret = f":{password}" if password else ""
        return f"postgresql://tester{secret}@127.0.0.1:{self.port}/{database}"

    def sql(self, text, database="postgres", check=True):
        """What psql prints, bare."""
        done = subprocess.run([f"{self.bin}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                               "-d", self.uri(database), "-c", text], capture_output=True,
                              text=True, check=False, **self.as_owner())
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def dump(self, database):
        done = subprocess.run([f"{self.bin}/pg_dump", "-d", self.uri(database),
                               "--schema=novabeat"], capture_output=True, text=True, check=True,
                              **self.as_owner())
        return done.stdout

    def restore(self, dump, database):
        arguments = self.as_owner()
        del arguments["stdin"]
        self.sql(f"CREATE DATABASE {database} TEMPLATE template0")
        subprocess.run([f"{self.bin}/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
                        self.uri(database)], input=dump, text=True, check=True,
                       stdout=subprocess.DEVNULL, **arguments)
