"""Asking the server for figures that come from the record store, and reading reports as CSV."""
import csv
import io
import urllib.parse

from harness import event_path

CSV_COLUMNS = ["viewerId", "name", "groups", "country", "firstSeen", "lastSeen", "viewings",
               "minutes", "totalMs", "firstSeenMs", "lastSeenMs"]


def ask(server, event, session, what, **parameters):
    """GET …/viewers/<what>; parameters that are None are left out."""
    given = {name: value for name, value in parameters.items() if value is not None}
    path = f"{event_path(event, session)}/viewers/{what}"
    answer = server.get_json(path + ("?" + urllib.parse.urlencode(given) if given else ""))
    assert answer["eventId"] == event and answer.get("sessionId") == session, answer
    return answer


def viewing_stats(server, event, session=None):
    return ask(server, event, session, "viewing-stats")


def concurrent(server, event, session=None, start=None, end=None, step=None):
    return ask(server, event, session, "concurrent", **{"from": start, "to": end, "step": step})


def seen(server, event, session=None, start=None, end=None):
    return ask(server, event, session, "all-time-active-count", **{"from": start, "to": end})


def report_body(session=None, start=None, end=None, groups=(), minimum=0, **more):
    body = {"sessionId": session, "from": start, "to": end, "groups": list(groups) or None,
            "minimumMinutes": minimum or None}
    body.update(more)
    return {name: value for name, value in body.items() if value is not None}


def ask_report(server, event, body, headers=()):
    return server.request("POST", event_path(event) + "/heartbeat-report", body, headers)


def report(server, event, session=None, limit=None, **filters):
    """All rows, following the cursor, and the moment that they are of."""
    body = report_body(session, limit=limit, **filters)
    rows = []
    moment = None
    while True:
        answer = ask_report(server, event, body)
        assert answer.status == 200, answer
        page = answer.json
        assert page["eventId"] == event and page.get("sessionId") == session, page
        assert moment in (None, page["timestamp"]), f"not of one moment: {moment}, {page}"
        moment = page["timestamp"]
        rows += page["viewers"]
        following = page.get("next")
        if following is None:
            return rows, moment
        assert len(page["viewers"]) == (limit or 1000), f"a page short of its limit: {page}"
        body["cursor"] = following


def read_csv(answer):
    """The rows of a report as CSV: {column: text}."""
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present", \
        answer.headers
    lines = list(csv.reader(io.StringIO(answer.body.decode("utf-8"), newline="")))
    assert lines[0] == CSV_COLUMNS, lines[0]
    assert all(len(line) == len(CSV_COLUMNS) for line in lines), "a row with other columns"
    return [dict(zip(CSV_COLUMNS, line)) for line in lines[1:]]
