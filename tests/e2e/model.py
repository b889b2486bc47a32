"""A naive reference of DESIGN, section 2: what the figures must be.

It keeps every heartbeat of an audience in a list and answers each question by going over the list
from the start.  Slow, and short enough to be checked by eye against the text; nothing here is
taken from the engine.  Times are ms; heartbeats come in the order of their times.
"""
import figures as ask


class Settings:
    def __init__(self, alive_window=65000, hidden_window=125000, leaving_window=35000,
                 viewing_gap=150000, frame=300000):
        self.alive_window = alive_window
        self.hidden_window = hidden_window
        self.leaving_window = leaving_window
        self.viewing_gap = viewing_gap
        self.frame = frame


class Beat:
    def __init__(self, time, viewer, hidden=False, leaving=False, groups=(), country="ZZ"):
        self.time = time
        self.viewer = viewer
        self.hidden = hidden
        self.leaving = leaving
        self.groups = tuple(groups)
        self.country = country


def count_by(keys):
    counts = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return counts


def rounded(numerator, denominator):
    """To the nearest whole number, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def percentile(values, percent):
    """Linear between the closest ranks (type 7), to the nearest ms, in whole numbers."""
    values = sorted(values)
    if not values:
        return 0
    place, rest = divmod((len(values) - 1) * percent, 100)
    above = values[min(place + 1, len(values) - 1)]
    return rounded(values[place] * (100 - rest) + above * rest, 100)


HISTOGRAM_MINUTES = (0, 1, 5, 10, 15, 30, 45, 60, 90, 120, 180, 240, None)


def histogram(totals):
    bins = []
    for lower, upper in zip(HISTOGRAM_MINUTES, HISTOGRAM_MINUTES[1:]):
        bounds = lower * 60000, None if upper is None else upper * 60000
        count = sum(bounds[0] <= total and (bounds[1] is None or total < bounds[1])
                    for total in totals)
        bins.append({"fromMs": bounds[0], "toMs": bounds[1], "viewers": count})
    return bins


class Audience:
    """One event, or one session of it."""

    def __init__(self, settings):
        self.settings = settings
        self.beats = []

    def add(self, beat):
        assert not self.beats or self.beats[-1].time <= beat.time
        self.beats.append(beat)

    def counted(self):
        """The heartbeats that count: a leave counts in nothing."""
        return [beat for beat in self.beats if not beat.leaving]

    def viewers(self):
        return sorted({beat.viewer for beat in self.counted()})

    def expiry(self, viewer, beats=None):
        """The end of the viewer's lease after these heartbeats; None: never had one (rule 1)."""
        expiry = None
        for beat in self.beats if beats is None else beats:
            if beat.viewer != viewer:
                continue
            if beat.leaving:
                if expiry is not None:
                    expiry = min(expiry, beat.time + self.settings.leaving_window)
            elif beat.hidden:
                expiry = beat.time + self.settings.hidden_window
            else:
                expiry = beat.time + self.settings.alive_window
        return expiry

    def expiries(self, beats=None):
        """The same for all viewers in one pass."""
        leases = {}
        for beat in self.beats if beats is None else beats:
            if beat.leaving:
                if beat.viewer in leases:
                    leases[beat.viewer] = min(leases[beat.viewer],
                                              beat.time + self.settings.leaving_window)
            else:
                window = (self.settings.hidden_window if beat.hidden
                          else self.settings.alive_window)
                leases[beat.viewer] = beat.time + window
        return leases

    def alive(self, now):
        """The viewers whose lease has not run out: alive at T iff T <= expiry."""
        return sorted(viewer for viewer, expiry in self.expiries().items() if now <= expiry)

    def attended(self):
        return len(self.viewers())

    def viewings(self, viewer):
        """[start, end] of each of the viewer's viewings (rules 1 and 3)."""
        viewings = []
        for beat in self.beats:
            if beat.viewer != viewer:
                continue
            within = bool(viewings) and beat.time - viewings[-1][1] <= self.settings.viewing_gap
            if beat.leaving:
                if within:
                    viewings[-1][1] = beat.time
            elif within:
                viewings[-1][1] = beat.time
            else:
                viewings.append([beat.time, beat.time])
        return viewings

    def logins(self):
        return sum(len(self.viewings(viewer)) for viewer in self.viewers())

    def total_ms(self):
        return sum(end - start for viewer in self.viewers()
                   for start, end in self.viewings(viewer))

    def peak(self):
        """(count, time): the most that were alive right after a heartbeat, and when first."""
        best = (0, None)
        leases = {}
        for beat in self.beats:
            if beat.leaving:
                if beat.viewer in leases:
                    leases[beat.viewer] = min(leases[beat.viewer],
                                              beat.time + self.settings.leaving_window)
                continue
            window = self.settings.hidden_window if beat.hidden else self.settings.alive_window
            leases[beat.viewer] = beat.time + window
            alive = sum(1 for expiry in leases.values() if beat.time <= expiry)
            if alive > best[0]:
                best = (alive, beat.time)
        return best

    def until(self, moment):
        """The audience as it was then: what came later has not come."""
        earlier = Audience(self.settings)
        earlier.beats = [beat for beat in self.beats if beat.time <= moment]
        return earlier

    # ---- how long, and when (watching at T: a viewing with start <= T <= end; of a viewer who is
    # alive now, the latest one reaches to now) ----

    def watched(self, viewer, now):
        viewings = self.viewings(viewer)
        if viewings and self.expiry(viewer) >= now:
            viewings[-1][1] = max(viewings[-1][1], now)
        return viewings

    def first_seen(self):
        return min((beat.time for beat in self.counted()), default=None)

    def concurrent(self, start, end, step, now):
        """[(time, viewers)] at start, start + step, … up to end and now."""
        spans = [self.watched(viewer, now) for viewer in self.viewers()]
        return [(at, sum(any(first <= at <= last for first, last in viewings)
                         for viewings in spans))
                for at in range(start, min(end, now) + 1, step)]

    def seen(self, start, end, now):
        """How many were watching at any moment of [start, end]."""
        return sum(any(first <= end and last >= start
                       for first, last in self.watched(viewer, now))
                   for viewer in self.viewers())

    def viewing_stats(self, now, declared=None):
        totals = [sum(end - start for start, end in self.viewings(viewer))
                  for viewer in self.viewers()]
        start = declared or self.first_seen()
        return {
            "startMs": start, "viewers": len(totals), "viewings": self.logins(),
            "totalMs": sum(totals), "averageMs": rounded(sum(totals), max(1, len(totals))),
            "medianMs": percentile(totals, 50), "p90Ms": percentile(totals, 90),
            "histogram": histogram(totals), "retention": self.retention(start, now),
        }

    def retention(self, start, now):
        """[viewers in minute m of the session, …], up to the last minute with any."""
        minutes = {}
        for viewer in self.viewers():
            here = set()
            for first, last in self.watched(viewer, now):
                here.update(range((first - start) // 60000, (last - start) // 60000 + 1))
            for minute in here:
                minutes[minute] = minutes.get(minute, 0) + 1
        return [minutes.get(minute, 0) for minute in range(max(minutes, default=-1) + 1)]

    def report(self, now, start=0, end=None, groups=(), minimum=0):
        """The rows of a report, in the order in which the viewers came; groups of a viewer are
        those of its newest heartbeat that is counted."""
        end = now if end is None else min(end, now)
        latest = {beat.viewer: beat for beat in self.counted()}
        rows = []
        for viewer in dict.fromkeys(beat.viewer for beat in self.counted()):
            inside = [(max(first, start), min(last, end))
                      for first, last in self.viewings(viewer)]
            inside = [(first, last) for first, last in inside if first <= last]
            total = sum(last - first for first, last in inside)
            has = latest[viewer].groups
            if not inside or total < minimum * 60000 or (groups and not set(groups) & set(has)):
                continue
            rows.append({"viewerId": viewer, "groups": sorted(has),
                         "country": latest[viewer].country,
                         "firstSeenMs": min(first for first, _ in inside),
                         "lastSeenMs": max(last for _, last in inside),
                         "viewings": len(inside), "totalMs": total})
        return rows

    def frames(self, now):
        """The frames that are over at now, as the API shows them (rule 4)."""
        first = {}
        for beat in self.counted():
            start = beat.time // self.settings.frame * self.settings.frame
            first.setdefault(start, {}).setdefault(beat.viewer, beat)
        frames = []
        for start in sorted(first):
            if start + self.settings.frame > now:
                continue
            beats = first[start].values()
            frames.append({
                "frameStart": start,
                "timestamp": start + self.settings.frame,
                "viewerCount": len(beats),
                "countByUserGroup": count_by(group for beat in beats for group in beat.groups),
                "countByViewingCountry": count_by(beat.country for beat in beats),
            })
        return frames

    def live(self, now):
        """Alive by group and country, each viewer as in its latest heartbeat."""
        alive = self.alive(now)
        latest = {beat.viewer: beat for beat in self.counted()}
        beats = [latest[viewer] for viewer in alive]
        return {
            "viewerCount": len(beats),
            "countByUserGroup": count_by(group for beat in beats for group in beat.groups),
            "countByViewingCountry": count_by(beat.country for beat in beats),
        }


class Event:
    """An event's audience and those of its sessions."""

    def __init__(self, settings):
        self.settings = settings
        self.audiences = {None: Audience(settings)}

    def add(self, beat, session=None):
        """A heartbeat counts in the event and, if it names a session, in the session."""
        self.audiences[None].add(beat)
        if session is not None:
            if session not in self.audiences:
                if beat.leaving:
                    return
                self.audiences[session] = Audience(self.settings)
            self.audiences[session].add(beat)

    def sessions(self):
        return sorted(session for session in self.audiences if session is not None)

    def audience(self, session=None):
        return self.audiences.get(session) or Audience(self.settings)


def compare(server, event_id, event, sessions_too=True):
    """Compares every figure that the server shows of the event with the model's.

    The answers carry the time at which they hold, and the model answers for that time.
    """
    for session in [None] + (event.sessions() if sessions_too else []):
        audience = event.audience(session)
        where = f"{event_id}/{session or ''}"
        count, now = server.active(event_id, session)
        assert count == len(audience.alive(now)), \
            f"{where} alive at {now}: server {count}, model {len(audience.alive(now))}"
        attended = server.attended(event_id, session)
        assert attended == audience.attended(), \
            f"{where} attended: server {attended}, model {audience.attended()}"
        peak = server.peak(event_id, session)
        assert peak == audience.peak(), f"{where} peak: server {peak}, model {audience.peak()}"
        live = server.live(event_id, session)
        expected = audience.live(live["timestamp"])
        shown = {name: live[name] for name in expected}
        assert shown == expected, f"{where} live: server {shown}, model {expected}"
    compare_overview(server, event_id, event)


def overview_of(audience, now):
    count, at = audience.peak()
    return {"active": len(audience.alive(now)), "attended": audience.attended(),
            "logins": audience.logins(), "maxConcurrent": {"count": count, "at": at},
            "totalViewingMs": audience.total_ms()}


def compare_overview(server, event_id, event):
    overview = server.overview(event_id)
    now = overview["timestamp"]
    shown = {None: overview}
    for session in overview["sessions"]:
        shown[session["sessionId"]] = session
    assert sorted(shown, key=str) == sorted(event.audiences, key=str), \
        f"{event_id} sessions: server {list(shown)}, model {list(event.audiences)}"
    for session, figures in shown.items():
        expected = overview_of(event.audience(session), now)
        got = {name: figures[name] for name in expected}
        assert got == expected, f"{event_id}/{session} overview: server {got}, model {expected}"
        average = expected["totalViewingMs"] / max(1, expected["logins"])
        assert abs(figures["averageViewingMs"] - average) <= 1, \
            f"{event_id}/{session} average: server {figures['averageViewingMs']}, model {average}"


def compare_viewer(server, event_id, event, viewer):
    """Compares one viewer's viewings, in the event and in its sessions."""
    answer = server.viewer(event_id, viewer)
    shown = sorted((viewing.get("sessionId") or "", viewing["startedMs"], viewing["endedMs"])
                   for viewing in answer["viewings"])
    expected = sorted((session or "", start, end)
                      for session, audience in event.audiences.items()
                      for start, end in audience.viewings(viewer))
    assert shown == expected, f"{event_id} viewings of {viewer}: server {shown}, model {expected}"
    return answer


FRAME_FIELDS = ("frameStart", "timestamp", "viewerCount", "countByUserGroup",
                "countByViewingCountry")


def shown_frames(server, event_id, session=None):
    return [{name: frame[name] for name in FRAME_FIELDS}
            for frame in server.frames(event_id, session)]


def compare_times(server, event_id, event, session=None, declared=None):
    """Viewing times and what was going on when, each for the time that the answer carries.

    An answer may be a second old: then it is compared with what had come until then.
    """
    where = f"{event_id}/{session or ''}"
    shown = ask.viewing_stats(server, event_id, session)
    now = shown["timestamp"]
    audience = event.audience(session).until(now)
    expected = audience.viewing_stats(now, declared)
    retention = [minute["viewers"] for minute in shown["retention"]]
    assert [minute["minute"] for minute in shown["retention"]] == list(range(len(retention)))
    got = dict({name: shown[name] for name in expected}, retention=retention)
    assert got == expected, f"{where} viewing-stats: server {got}, model {expected}"

    first = audience.first_seen()
    if first is None:
        assert ask.concurrent(server, event_id, session)["points"] == []
        return
    step = max(1, (now - first) // 40)
    for start, end in ((None, None), (first - 3 * step, first + 5 * step),
                       (first + 7, max(now, first + 7) + 5 * step)):
        answer = ask.concurrent(server, event_id, session, start, end, step)
        now = answer["timestamp"]
        audience = event.audience(session).until(now)
        points = [(point["timestamp"], point["count"]) for point in answer["points"]]
        expected = audience.concurrent(first if start is None else start,
                                       now if end is None else end, step, now)
        assert points == expected, f"{where} concurrent {start}, {end}, {step} at {now}: " \
                                   f"server {points}, model {expected}"
    for start, end in ((first, first), (first + step, first + 9 * step), (None, first + step),
                       (now - step, None), (now + step, None), (0, first - 1)):
        answer = ask.seen(server, event_id, session, start, end)
        now = answer["timestamp"]
        audience = event.audience(session).until(now)
        expected = audience.seen(0 if start is None else start,
                                 1 << 53 if end is None else end, now)
        assert answer["count"] == expected, \
            f"{where} seen {start}, {end} at {now}: server {answer['count']}, model {expected}"


def compare_counts(server, event_id, event, session=None):
    """total-login-count, and all-time-active-count without a range."""
    audience = event.audience(session)
    logins = server.count("total-login-count", event_id, session)[0]
    assert logins == audience.logins(), (event_id, session, logins, audience.logins())
    ever = server.count("all-time-active-count", event_id, session)[0]
    assert ever == audience.attended(), (event_id, session, ever, audience.attended())


def compare_report(server, event_id, event, session=None, limit=None, **filters):
    """All pages of a report; filters are those of Audience.report, start and end as from and to."""
    rows, now = ask.report(server, event_id, session, limit=limit, **filters)
    expected = event.audience(session).until(now).report(now, **filters)
    got = [{name: row[name] for name in expected[0]} for row in rows] if expected else rows
    assert got == expected, f"{event_id}/{session or ''} report {filters}: server {got}, " \
                            f"model {expected}"
    return rows
