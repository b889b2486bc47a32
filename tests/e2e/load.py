"""Load whose acknowledgements are remembered: for tests that end the server in the middle of it.

Each thread has one connection, keeps a few heartbeats on the way, and knows for each of them
whether it was acknowledged (answered 200), refused (another answer), or neither when the
connection broke: then the server may or may not have counted it.
"""
import random
import threading
import time

from harness import Closed, Connection, beat_body, event_path, request_bytes


class Load:
    """Heartbeats of viewers <prefix>-<thread>-<n>, each viewer once."""

    def __init__(self, address, event, prefix, threads=4, pipelined=8, sessions=3, seed=1,
                 seconds=30):
        self.address = address
        self.event = event
        self.prefix = prefix
        self.pipelined = pipelined
        self.sessions = sessions
        self.seconds = seconds
        self.acknowledged = {}
        self.acknowledged_at = {}
        self.refused = {}
        self.open = {}
        self.statuses = set()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(number, seed + number))
                        for number in range(threads)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        """Waits for the answers that are due, unless the connections broke."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def alive(self):
        return any(thread.is_alive() for thread in self.threads)

    def sent(self):
        return len(self.acknowledged) + len(self.refused) + len(self.open)

    def settle(self, viewer, session, answer):
        with self.lock:
            self.open.pop(viewer, None)
            self.statuses.add(answer.status)
            if answer.status == 200:
                self.acknowledged[viewer] = session
                self.acknowledged_at[viewer] = time.monotonic()
            else:
                self.refused[viewer] = session

    def doubt_since(self, moment):
        """What was acknowledged later than this may be there or not, as if it had not been."""
        for viewer, at in self.acknowledged_at.items():
            if at >= moment:
                self.open[viewer] = self.acknowledged.pop(viewer)

    def work(self, number, seed):
        choice = random.Random(seed)
        count = 0
        try:
            connection = Connection(self.address, self.seconds)
        except OSError:
            return
        try:
            while not self.stopping.is_set():
                batch = []
                data = b""
                for _ in range(choice.randint(1, self.pipelined)):
                    viewer = f"{self.prefix}-{number}-{count}"
                    session = choice.choice([None] + [f"talk-{s}" for s in range(self.sessions)])
                    count += 1
                    batch.append((viewer, session))
                    data += request_bytes("POST", event_path(self.event) + "/heartbeat",
                                          beat_body(self.event, viewer, session))
                with self.lock:
                    self.open.update(batch)
                connection.send_raw(data)
                for viewer, session in batch:
                    self.settle(viewer, session, connection.receive())
        except (OSError, Closed):
            pass
        finally:
            connection.close()


def attended_of(server, event, viewers, chunk=100):
    """Which of the viewers the server knows in the event, and in which sessions: pipelined."""
    known = {}
    viewers = list(viewers)
    with server.connect() as connection:
        for first in range(0, len(viewers), chunk):
            part = viewers[first:first + chunk]
            connection.send_raw(b"".join(
                request_bytes("GET", f"{event_path(event)}/viewers/{viewer}") for viewer in part))
            for viewer in part:
                answer = connection.receive()
                assert answer.status in (200, 404), answer
                viewings = answer.json["viewings"] if answer.status == 200 else []
                if viewings:
                    known[viewer] = [viewing.get("sessionId") for viewing in viewings]
    return known


class Ledger:
    """What must be in an event after any number of sudden ends.

    Heartbeats that were neither acknowledged nor refused are looked up after the next start: from
    then on they are known to be in or out, and the counts must be exact.
    """

    def __init__(self, event):
        self.event = event
        self.viewers = {}

    def check(self, server, load, sample=None, choice=random):
        """Compares after a start; sample bounds how many viewers are looked up one by one."""
        acknowledged = list(load.acknowledged)
        if sample is not None and len(acknowledged) > sample:
            # The last ones are the most in danger.
            acknowledged = acknowledged[-sample // 2:] + choice.sample(acknowledged, sample // 2)
        looked_up = list(dict.fromkeys(acknowledged + list(load.open) + list(load.refused)))
        never_sent = [f"{load.prefix}-0-never", "nobody"]
        known = attended_of(server, self.event, looked_up + never_sent)
        for viewer in acknowledged:
            session = load.acknowledged[viewer]
            assert viewer in known, f"{viewer} was acknowledged and is lost"
            if session is not None:
                assert session in known[viewer], f"{viewer} in {session} is lost: {known[viewer]}"
        for viewer in never_sent:
            assert viewer not in known, f"{viewer} was never sent and is there"
        for viewer in load.refused:
            assert viewer not in known, f"{viewer} was refused and is there"
        self.viewers.update(load.acknowledged)
        self.viewers.update({viewer: session for viewer, session in load.open.items()
                             if viewer in known})
        self.check_counts(server)

    def check_counts(self, server):
        """Attendance, logins and the peak of the event and of each session, exactly."""
        expected = {None: len(self.viewers)}
        for session in self.viewers.values():
            if session is not None:
                expected[session] = expected.get(session, 0) + 1
        overview = server.overview(self.event)
        shown = {None: overview}
        shown.update({audience["sessionId"]: audience for audience in overview["sessions"]})
        attended = {session: audience["attended"] for session, audience in shown.items()}
        assert attended == expected, f"attended: server {attended}, sent {expected}"
        # Each viewer came once, so each has one viewing, and all of them were there together.
        logins = {session: audience["logins"] for session, audience in shown.items()}
        assert logins == expected, f"logins: server {logins}, sent {expected}"
        peaks = {session: audience["maxConcurrent"]["count"]
                 for session, audience in shown.items()}
        assert peaks == expected, f"peaks: server {peaks}, sent {expected}"
        live = server.live(self.event)
        assert live["viewerCount"] == expected[None], live
        assert sum(live["countByViewingCountry"].values()) == expected[None], live
