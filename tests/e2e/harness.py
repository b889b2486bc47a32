"""What the end-to-end scenarios share: the real server as a child process, a small HTTP client, TAP.

A scenario is a file test_<what>.py whose docstring says its goal; each function that it gives to
run() is one test, named by the first line of its docstring.  Nothing here knows the inside of the
server: it is started by its command line, spoken to over HTTP, and judged by its answers, its exit
status and what it writes to stderr.

NOVABEAT_BUILD is the folder with the binary; NOVABEAT_SEED repeats a random run; NOVABEAT_ROUNDS
bounds the rounds of tests that go round.  Only the standard library is used.
"""
import ctypes
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("NOVABEAT_BUILD", os.path.join(TOP, "build", "release"))
BINARY = os.path.join(BUILD, "novabeat")
VECTORS = os.path.join(os.path.dirname(TOP), "shared", "vectors")

START_SECONDS = 60
ANSWER_SECONDS = 30
SANITIZER = re.compile(r"(ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer"
                       r"|runtime error:|SUMMARY: \w+Sanitizer)")
LISTENING = re.compile(r"listening on (\S+):(\d+)")


class Skip(Exception):
    """The machine cannot show what the test is about."""


def seed():
    """A printed seed: of NOVABEAT_SEED, else a new one."""
    chosen = int(os.environ.get("NOVABEAT_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"# NOVABEAT_SEED={chosen}", flush=True)
    return chosen


def rounds(wanted):
    """How often to go round: as wanted, or NOVABEAT_ROUNDS when that is less."""
    return min(wanted, int(os.environ.get("NOVABEAT_ROUNDS") or wanted))


# ---- the client ----

class Answer:
    """One HTTP answer: status, headers (lower-case names), body."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Closed(Exception):
    """The server closed the connection before the answer was whole."""


class Connection:
    """One keep-alive connection.  send() and receive() may be interleaved: that is pipelining."""

    def __init__(self, address, seconds=ANSWER_SECONDS):
        self.socket = socket.create_connection(address, timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""

    def send_raw(self, data):
        self.socket.sendall(data)

    def send(self, method, path, body=None, headers=()):
        self.socket.sendall(request_bytes(method, path, body, headers))

    def read_more(self):
        try:
            more = self.socket.recv(65536)
        except ConnectionResetError:
            more = b""
        if not more:
            raise Closed(f"closed after {self.pending[:200]!r}")
        self.pending += more

    def receive(self, head_only=False):
        """The next answer; head_only for HEAD requests.  Interim (1xx) answers are passed over."""
        while b"\r\n\r\n" not in self.pending:
            self.read_more()
        head, self.pending = self.pending.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ")[:2]
        assert version in ("HTTP/1.1", "HTTP/1.0"), f"no status line: {lines[0]!r}"
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        status = int(status)
        if 100 <= status < 200:
            return self.receive(head_only)
        if headers.get("transfer-encoding") == "chunked" and not head_only:
            return Answer(status, headers, self.receive_chunks())
        length = int(headers.get("content-length", 0))
        if head_only or status in (204, 304):
            length = 0
        while len(self.pending) < length:
            self.read_more()
        body, self.pending = self.pending[:length], self.pending[length:]
        return Answer(status, headers, body)

    def receive_chunks(self):
        """The body of a chunked answer; Closed when it ends without its last chunk."""
        body = []
        while True:
            while b"\r\n" not in self.pending:
                self.read_more()
            size, self.pending = self.pending.split(b"\r\n", 1)
            size = int(size, 16)
            while len(self.pending) < size + 2:
                self.read_more()
            body.append(self.pending[:size])
            assert self.pending[size:size + 2] == b"\r\n", "a chunk does not end where it says"
            self.pending = self.pending[size + 2:]
            if size == 0:
                return b"".join(body)

    def request(self, method, path, body=None, headers=()):
        self.send(method, path, body, headers)
        return self.receive(method == "HEAD")

    def closed_by_server(self, seconds=ANSWER_SECONDS):
        """Reads on: True when the server closes within the time, False when it does not."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return False
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                return True
            if not more:
                return True
            self.pending += more

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def body_bytes(body):
    if body is None:
        return None
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("utf-8")
    return json.dumps(body, ensure_ascii=False).encode("utf-8")


def request_bytes(method, path, body=None, headers=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: test"]
    lines += [f"{name}: {value}" for name, value in dict(headers).items()]
    data = body_bytes(body)
    if data is not None:
        if not any(name.lower() == "content-type" for name in dict(headers)):
            lines.append("Content-Type: application/json")
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + (data or b"")


def quote(text):
    """One path segment."""
    return urllib.parse.quote(text, safe="")


def event_path(event, session=None):
    path = f"/analytics/events/{quote(event)}"
    return path if session is None else f"{path}/sessions/{quote(session)}"


def beat_body(event, viewer, session=None, **fields):
    body = {"viewerId": viewer}
    if session is not None:
        body["path"] = f"/events/{event}/sessions/{session}"
    body.update(fields)
    return body


# ---- the server ----

DIE_WITH_PARENT = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    DIE_WITH_PARENT.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Server:
    """`novabeat serve` on a free port of the loopback, with --auth none and no --viewer-rate.

    flags: further arguments; a name with underscores and a value becomes --the-name value.
    auth: with "jwt", requests are made with the API key that the first start prints.
    data: the data folder, kept; without it a temporary one is made and removed.
    wrap: a command to run the server under (its pid is then the wrapper's).
    """

    def __init__(self, *arguments, data=None, wrap=(), environment=None, preexec=None,
                 auth="none", **flags):
        self.own_data = data is None
        self.data = data or tempfile.mkdtemp(prefix="novabeat-e2e-")
        self.command = list(wrap) + [BINARY, "serve", "--listen", "127.0.0.1:0", "--data",
                                     self.data, "--auth", auth]
        flags.setdefault("viewer_rate", 0)
        for name, value in flags.items():
            self.command += ["--" + name.replace("_", "-"), str(value)]
        self.command += list(arguments)
        self.environment = dict(os.environ, **(environment or {}))
        self.preexec = preexec
        self.process = None
        self.log = []
        self.reader = None
        self.address = None
        self.listening = threading.Event()
        self.connection = None
        self.printed = None
        self.key = None  # the API key of the first start

    # -- life --

    def launch(self):
        """Starts the process without waiting for it."""
        def prepare():
            die_with_parent()
            if self.preexec:
                self.preexec()

        self.log = []
        self.address = None
        self.listening.clear()
        self.printed = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=self.printed, stderr=subprocess.PIPE,
                                        env=self.environment, preexec_fn=prepare)
        self.reader = threading.Thread(target=self.read_log, args=(self.process.stderr,),
                                       daemon=True)
        self.reader.start()
        return self

    def start(self):
        """Starts the process and waits until /readyz says so."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        while not self.listening.wait(0.005):
            if self.process.poll() is not None:
                self.reader.join()
                raise AssertionError(f"the server exited with {self.process.returncode} instead of "
                                     f"listening: {self.log_text()[-2000:]}")
            assert time.monotonic() < deadline, f"the server listens nowhere: {self.log_text()}"
        key = re.search(r"^nb_\S+$", self.stdout_text(), re.M)
        self.key = key.group(0) if key else self.key
        while True:
            try:
                if self.get("/readyz").status == 200:
                    return self
            except (OSError, Closed):
                self.drop_connection()
            assert time.monotonic() < deadline, f"the server is never ready: {self.log_text()}"
            time.sleep(0.005)

    def read_log(self, stream):
        for raw in stream:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.log.append(line)
            match = LISTENING.search(line)
            if match and not self.listening.is_set():
                self.address = (match.group(1).strip("[]"), int(match.group(2)))
                self.listening.set()
        stream.close()

    def log_text(self):
        return "\n".join(self.log)

    def stdout_text(self):
        # pread: the offset is the child's too.
        return os.pread(self.printed.fileno(), 1 << 20, 0).decode("utf-8", "replace")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, seconds=START_SECONDS):
        """The exit status; a server that does not end in time has failed."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server does not end: {self.log_text()[-2000:]}") from None
        self.reader.join(10)
        self.drop_connection()
        self.check_sanitizers()
        return status

    def terminate(self):
        """SIGTERM: drains; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        """kill -9, as sudden as it gets short of a power cut."""
        if self.running():
            self.process.kill()
        return self.wait()

    def check_sanitizers(self):
        report = [place for place, line in enumerate(self.log) if SANITIZER.search(line)]
        if report:
            raise AssertionError("sanitizer report:\n" +
                                 "\n".join(self.log[report[0]:report[0] + 80]))

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        try:
            if kind is not None:
                for line in self.log[-12:]:
                    print(f"# server: {line}")
            if self.process is not None:
                if kind is None and self.running():
                    status = self.terminate()
                    assert status == 0, (f"SIGTERM gave exit status {status}: "
                                         f"{self.log_text()[-2000:]}")
                else:
                    self.kill()
        finally:
            if self.running():
                self.process.kill()
                self.process.wait()
            if self.own_data:
                shutil.rmtree(self.data, ignore_errors=True)
        return False

    # -- requests --

    def connect(self, seconds=ANSWER_SECONDS):
        return Connection(self.address, seconds)

    def drop_connection(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def request(self, method, path, body=None, headers=()):
        """On one kept connection; it is made again when the server has closed it."""
        headers = dict(headers)
        if self.key is not None and not any(name.lower() == "authorization" for name in headers):
            headers["Authorization"] = f"Bearer {self.key}"
        for attempt in (0, 1):
            kept = self.connection is not None
            if not kept:
                self.connection = self.connect()
            try:
                answer = self.connection.request(method, path, body, headers)
            except (Closed, BrokenPipeError, ConnectionResetError):
                self.drop_connection()
                if not kept or attempt:
                    raise
                continue
            except OSError:
                self.drop_connection()
                raise
            if answer.headers.get("connection", "").lower() == "close":
                self.drop_connection()
            return answer
        raise AssertionError("not reached")

    def get(self, path):
        return self.request("GET", path)

    def get_json(self, path):
        answer = self.get(path)
        assert answer.status == 200, f"GET {path}: {answer}"
        return answer.json

    def beat(self, event, viewer, session=None, headers=(), **fields):
        return self.request("POST", event_path(event) + "/heartbeat",
                            beat_body(event, viewer, session, **fields), headers)

    def beat_ok(self, event, viewer, session=None, headers=(), **fields):
        answer = self.beat(event, viewer, session, headers, **fields)
        assert answer.status == 200, f"heartbeat of {viewer}: {answer}"
        return answer

    def batch(self, lines):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        return self.request("POST", "/analytics/heartbeats", text,
                            {"Content-Type": "application/x-ndjson"})

    def count(self, what, event, session=None):
        """One of the counts: (count, timestamp) of active-count and the like."""
        answer = self.get_json(event_path(event, session) + "/viewers/" + what)
        assert answer["eventId"] == event, answer
        assert answer.get("sessionId") == session, answer
        return answer["count"], answer["timestamp"]

    def active(self, event, session=None):
        return self.count("active-count", event, session)

    def attended(self, event, session=None):
        return self.count("total-attended-count", event, session)[0]

    def peak(self, event, session=None):
        answer = self.get_json(event_path(event, session) + "/viewers/max-concurrent-count")
        return answer["count"], answer["at"]

    def overview(self, event):
        return self.get_json(event_path(event) + "/overview")

    def viewer(self, event, viewer):
        return self.get_json(f"{event_path(event)}/viewers/{quote(viewer)}")

    def put_profile(self, event, viewer, **profile):
        return self.request("PUT", f"{event_path(event)}/viewers/{quote(viewer)}", profile)

    def frames(self, event, session=None, start=None, end=None):
        """All frames between start and end, following the cursor."""
        path = event_path(event, session) + "/statistics"
        query = {name: value for name, value in (("from", start), ("to", end))
                 if value is not None}
        frames = []
        while True:
            page = self.get_json(path + ("?" + urllib.parse.urlencode(query) if query else ""))
            frames += page["statistics"]
            following = page.get("next")
            if following is None:
                return frames
            query["cursor"] = following

    def live(self, event, session=None):
        return self.get_json(event_path(event, session) + "/statistics/live")

    def metrics(self):
        """The samples of /metrics: {name and labels: value}."""
        answer = self.get("/metrics")
        assert answer.status == 200, answer
        samples = {}
        for line in answer.body.decode("utf-8").splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples

    def healthy(self):
        """A new connection gets a heartbeat through: whatever happened before, the server lives."""
        assert self.running(), f"the server has gone: {self.log_text()[-2000:]}"
        with self.connect() as connection:
            answer = connection.request("POST", event_path("health") + "/heartbeat",
                                        {"viewerId": "health"})
            assert answer.status == 200, answer
            answer = connection.request("GET", "/healthz")
            assert answer.status == 200, answer


def latest_viewing(viewer, session=None):
    """The newest viewing in the answer about a viewer, in the event or in one of its sessions."""
    viewings = [viewing for viewing in viewer["viewings"] if viewing.get("sessionId") == session]
    return max(viewings, key=lambda viewing: viewing["startedMs"]) if viewings else None


def wait_until(condition, what, seconds=20, pause=0.01):
    """Polls until the condition is true and returns its value; fails when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(pause)


def command(*arguments, status=0, **options):
    """Runs a subcommand of the binary to its end and checks its exit status."""
    done = subprocess.run([BINARY, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=300, **options)
    assert not SANITIZER.search(done.stderr), done.stderr
    assert done.returncode == status, (f"novabeat {' '.join(arguments)}: exit status "
                                       f"{done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


# ---- what needs root ----

def in_private_mounts():
    """Runs the script again where its mounts are its own; skips where that is not allowed."""
    if os.environ.get("NOVABEAT_PRIVATE_MOUNTS"):
        return
    unshare = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        unshare += ["--map-root-user"]
    try:
        allowed = subprocess.run(unshare + ["true"], capture_output=True).returncode == 0
    except OSError:
        allowed = False
    if allowed:
        os.environ["NOVABEAT_PRIVATE_MOUNTS"] = "1"
        sys.stdout.flush()
        os.execvp(unshare[0], unshare + [sys.executable, "-B"] + sys.argv)
    os.environ["NOVABEAT_PRIVATE_MOUNTS"] = "no"


def need_private_mounts():
    if os.environ.get("NOVABEAT_PRIVATE_MOUNTS") != "1":
        raise Skip("needs a mount namespace of its own (root)")


def shell(*argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")


class Mount:
    """A mount for the length of a test."""

    def __init__(self, *arguments):
        self.folder = tempfile.mkdtemp(prefix="novabeat-mount-")
        self.mounted = False
        self.arguments = arguments

    def mount(self):
        try:
            shell("mount", *self.arguments, self.folder)
        except OSError as failure:
            raise Skip(str(failure)) from None
        self.mounted = True
        return self.folder

    def unmount(self):
        if self.mounted:
            shell("umount", self.folder)
            self.mounted = False

    def __enter__(self):
        try:
            self.mount()
        except BaseException:
            os.rmdir(self.folder)
            raise
        return self

    def __exit__(self, *_):
        if self.mounted and subprocess.run(["umount", self.folder],
                                           capture_output=True).returncode != 0:
            subprocess.run(["umount", "--lazy", self.folder], capture_output=True)
        try:
            os.rmdir(self.folder)
        except OSError:
            pass
        return False


# ---- TAP ----

def title_of(test):
    return (test.__doc__ or test.__name__).strip().splitlines()[0].rstrip(".")


def run_one(number, title, test, *arguments):
    try:
        test(*arguments)
        print(f"ok {number} - {title}", flush=True)
        return True
    except Skip as reason:
        print(f"ok {number} - {title} # SKIP {reason}", flush=True)
        return True
    except Exception:  # pylint: disable=broad-except
        print(f"not ok {number} - {title}")
        for line in traceback.format_exc().splitlines():
            print(f"# {line}")
        sys.stdout.flush()
        return False


def run(*tests, server=None):
    """Runs the tests, prints TAP, exits.

    With a server, the tests that take an argument share it (each has events of its own), and one
    test more is that it ends well: exit status 0, no sanitizer report.
    """
    print(f"1..{len(tests) + (server is not None)}", flush=True)
    good = True
    if server is not None:
        server.start()
    for number, test in enumerate(tests, 1):
        arguments = [server] if test.__code__.co_argcount else []
        passed = run_one(number, title_of(test), test, *arguments)
        if not passed and server is not None:
            for line in server.log[-12:]:
                print(f"# server: {line}", flush=True)
        good = good and passed
    if server is not None:
        good = run_one(len(tests) + 1, "SIGTERM ends the server of these tests with status 0",
                       end_well, server) and good
    sys.exit(0 if good else 1)


def end_well(server):
    try:
        assert server.running(), f"it has ended before: {server.process.returncode}"
        status = server.terminate()
        assert status == 0, f"exit status {status}: {server.log_text()[-2000:]}"
    finally:
        server.__exit__(None, None, None)
