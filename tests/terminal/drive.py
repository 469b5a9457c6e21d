#!/usr/bin/env python3
"""Drives an interactive bash in a pseudo-terminal: `drive.py [COMMAND...]` runs COMMAND bash (nothing: bash itself).

Prints what each step found; the test compares the native run with the one inside. Only this process's own child is ended.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

LIMIT = 20.0
COMMAND = sys.argv[1:] + ["bash", "--norc", "--noprofile", "-i"]


def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            set_size(0, 30, 90)
            os.environ.update(PS1="<prompt>", TERM="dumb")
            os.environ.pop("PROMPT_COMMAND", None)
            os.execvp(COMMAND[0], COMMAND)
        self.text = ""

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern):
        """Waits for the pattern, drops the text up to its end, and returns the match."""
        end = time.monotonic() + LIMIT
        while True:
            found = re.search(pattern, self.text)
            if found:
                self.text = self.text[found.end():]
                return found
            if time.monotonic() > end:
                raise SystemExit(f"no {pattern!r} in {self.text!r}")
            self.read(0.1)

    def send(self, text):
        os.write(self.fd, text.encode())

    def command(self, line, pattern):
        """Types a line, waits past its echo, and returns the match and the rest up to the next prompt."""
        self.send(line + "\n")
        self.expect(re.escape(line[-20:]) + r"\r?\n")
        found = self.expect(pattern)
        self.expect("<prompt>")
        return found.group(0).strip()


def main():
    t = Terminal()
    t.expect("<prompt>")
    print("start")
    print("echo:", t.command("echo $((6*7))", r"42"))
    print("terminals:", t.command("test -t 0 && test -t 1 && test -t 2 && echo all", "all"))
    print("name:", re.sub(r"\d+", "N", t.command("tty", r"/dev/\S+")))
    print("size:", t.command("stty size", r"\d+ \d+"))
    print("settings:", t.command("stty -a | tr ';' '\\n' | grep -c intr", r"\d+"))
    set_size(t.fd, 40, 100)
    time.sleep(0.5)
    print("resized:", t.command("stty size", r"\d+ \d+"))

    t.send("sleep 100\n")
    t.expect("sleep 100\r?\n")
    time.sleep(0.5)
    t.send("\x03")
    t.expect("<prompt>")
    print("after ctrl-c:", t.command("echo status $?", r"status \d+"))

    t.send("sleep 100\n")
    t.expect("sleep 100\r?\n")
    time.sleep(0.5)
    t.send("\x1a")
    t.expect("Stopped")
    t.expect("<prompt>")
    print("after ctrl-z:", t.command("jobs", r"\[1\]\+\s+Stopped\s+sleep 100"))
    print("background:", t.command("bg", r"\[1\]\+ sleep 100 &"))
    t.send("fg\n")
    t.expect("sleep 100\r?\n")
    time.sleep(0.3)
    t.send("\x03")
    t.expect("<prompt>")
    print("no jobs left:", t.command("jobs; echo end", "end"))

    t.send("cat\n")
    t.expect("cat\r?\n")
    time.sleep(0.5)
    t.send("typed\n")
    t.expect("typed\r?\ntyped\r?\n")
    t.send("\x04")
    t.expect("<prompt>")
    print("cat: line and end of file")

    print("raw:", t.command("stty raw -echo; stty -a | grep -o -- '-icanon'; stty sane", "-icanon"))
    print("quoting:", t.command("printf '%s\\n' \"a  b\"", "a  b"))
    t.send("exit 3\n")
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        t.read(0.1)
        pid, status = os.waitpid(t.pid, os.WNOHANG)
        if pid:
            print("exit:", os.waitstatus_to_exitcode(status))
            break
    else:
        os.kill(t.pid, signal.SIGKILL)
        raise SystemExit("does not end")


if __name__ == "__main__":
    try:
        main()
    finally:
        sys.stdout.flush()
