#!/usr/bin/env python3
"""/metrics is what Prometheus reads, and its counters count.

Goal: every line of the text format parses, every sample has its HELP and TYPE, counters never fall,
and heartbeats and requests are counted.  /healthz and /readyz answer.
"""
import re

from harness import Server, event_path, run

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"^({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?,?\}})? "
                    r"(NaN|[+-]?Inf|[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)( -?[0-9]+)?$")
HELP = re.compile(rf"^# HELP ({NAME}) \S.*$")
TYPE = re.compile(rf"^# TYPE ({NAME}) (counter|gauge|histogram|summary|untyped)$")


def family(name, types):
    """The metric that a sample belongs to."""
    for suffix in ("_bucket", "_sum", "_count"):
        base = name[:-len(suffix)]
        if name.endswith(suffix) and types.get(base) in ("histogram", "summary"):
            return base
    return name


def parse(text):
    """{sample with labels: (type, value)}; fails on what Prometheus would refuse."""
    types, helps, samples = {}, set(), {}
    assert text.endswith("\n"), "the last line has no end"
    for line in text.splitlines():
        if line.startswith("#"):
            kind = TYPE.match(line)
            if kind:
                assert kind.group(1) not in types, f"second TYPE: {line}"
                types[kind.group(1)] = kind.group(2)
            else:
                words = HELP.match(line)
                assert words, f"neither HELP nor TYPE: {line!r}"
                assert words.group(1) not in helps, f"second HELP: {line}"
                helps.add(words.group(1))
            continue
        sample = SAMPLE.match(line)
        assert sample, f"no sample: {line!r}"
        name = family(sample.group(1), types)
        assert name in types and name in helps, f"without TYPE or HELP before it: {line}"
        key = line.rsplit(" ", 1)[0]
        assert key not in samples, f"twice: {line}"
        samples[key] = (types[name], float(sample.group(3)))
    return samples


def test_text_format(server):
    """Every line parses, and every sample has its HELP and TYPE"""
    server.beat_ok("met", "ada")
    answer = server.get("/metrics")
    assert answer.status == 200, answer
    assert answer.headers["content-type"].startswith("text/plain"), answer.headers
    samples = parse(answer.body.decode("utf-8"))
    assert samples, "no samples"
    assert all(name.startswith(("novabeat_", "process_")) for name in samples), list(samples)
    for name, (kind, _) in samples.items():
        if kind == "counter":
            assert re.match(r"^[a-z_]+_total(\{|$)", name), f"a counter not named _total: {name}"


def test_counters_count(server):
    """Counters never fall, and heartbeats are counted"""
    before = parse(server.get("/metrics").body.decode("utf-8"))
    for number in range(100):
        server.beat_ok("met", f"viewer-{number}", leaving=number % 10 == 9)
    server.batch([{"event": "met", "viewer": f"batch-{number}"} for number in range(50)])
    after = parse(server.get("/metrics").body.decode("utf-8"))
    fallen = [name for name, (kind, value) in before.items()
              if kind == "counter" and after[name][1] < value]
    assert not fallen, fallen
    beats = [name for name in after if "heartbeats" in name and after[name][0] == "counter"]
    assert beats, list(after)
    grown = sum(after[name][1] - before.get(name, ("", 0.0))[1] for name in beats)
    assert grown >= 150, f"{grown} more in {beats}"


def test_refusals_are_counted(server):
    """What is refused is counted too"""
    def refused():
        samples = parse(server.get("/metrics").body.decode("utf-8"))
        return sum(value for name, (kind, value) in samples.items()
                   if kind == "counter" and re.search(r'4xx|status="?4|refused|rejected', name))

    before = refused()
    for _ in range(5):
        assert server.request("POST", event_path("met") + "/heartbeat", b"{").status == 400
    assert refused() >= before + 5


def test_health(server):
    """/healthz and /readyz answer 200 while the server serves"""
    assert server.get("/healthz").status == 200
    assert server.get("/readyz").status == 200
    assert server.request("HEAD", "/healthz").status == 200


if __name__ == "__main__":
    run(test_text_format, test_counters_count, test_refusals_are_counted, test_health,
        server=Server())
