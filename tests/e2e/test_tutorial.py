#!/usr/bin/env python3
"""Goal: what docs/TUTORIAL.md tells people to type works, and answers what the page says."""
import os
import re
import socket
import subprocess
import tempfile

from harness import BUILD, TOP, run

MARK = "### end of "


def steps(text):
    """The typed lines of the page, each with the lines that it says come back."""
    found = []
    for line in text.splitlines():
        if not line.startswith("    "):
            continue
        if line.startswith("    $ "):
            found.append((line[6:], []))
        elif found:
            found[-1][1].append(line[4:])
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def as_pattern(lines):
    """The page's answer; an ellipsis stands for anything, at an end of lines for whole lines."""
    return re.compile(re.escape("\n".join(lines)).replace(re.escape("…"), ".*"), re.S)


def test_tutorial():
    """Every line of the tutorial works and answers what the page says"""
    with open(os.path.join(TOP, "docs", "TUTORIAL.md"), encoding="utf-8") as page:
        typed = steps(page.read())
    assert len(typed) > 25, typed
    port = str(free_port())
    script = "set -m\n"
    for number, (line, _) in enumerate(typed):
        line = line.replace("$PWD/build/release", BUILD).replace("8080", port)
        script += f"{line}\necho; echo '{MARK}{number}'\n"
    with tempfile.TemporaryDirectory(prefix="novabeat-tutorial-") as folder:
        with open(os.path.join(folder, "script"), "w", encoding="utf-8") as out:
            out.write(script)
        shell = subprocess.Popen(["bash", "script"], cwd=folder, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 start_new_session=True)
        try:
            printed = shell.communicate(timeout=120)[0].decode("utf-8", "replace")
            printed = printed.replace("\r\n", "\n")  # CSV
        finally:
            # `set -m` gives the server a process group of its own, in this session.
            subprocess.run(["pkill", "-KILL", "-s", str(shell.pid)], check=False)
            shell.wait()
        assert os.listdir(folder) == ["script"], os.listdir(folder)
    rest = printed
    for number, (line, expected) in enumerate(typed):
        answer, rest = rest.split(f"{MARK}{number}\n", 1)
        answer = answer.strip("\n").replace(port, "8080")
        if expected:
            assert as_pattern(expected).fullmatch(answer), f"$ {line}\n{answer}\n-- the page says --\n" + \
                "\n".join(expected)


run(test_tutorial)
