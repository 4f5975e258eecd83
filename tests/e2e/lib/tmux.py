# SPDX-License-Identifier: Apache-2.0
"""A program in a terminal that the test sees: a tmux server of its own, one window."""
import os
import shlex
import subprocess
import tempfile

from . import proc, tap, tool

# What the program leaves behind is told from what was there before it.
SCRIPT = """trap : INT
stty -g >{dir}/before
{command}
echo "ended with status $?"
stty -g >{dir}/after
exec sleep 1000
"""


def missing():
    """Why there can be no terminal, or None."""
    return None if tool.find("tmux") else "no tmux"


class Terminal:
    """env: None as a value takes it away."""

    def __init__(self, t, command, width=100, height=24, env=None):
        why = missing()
        if why:
            t.skip(why)
        self.t, self.dir = t, tempfile.mkdtemp(prefix="tmux-", dir=t.dir)  # a server takes a moment to end
        self.socket = self.path("socket")
        env = {**os.environ, "LC_ALL": "C.UTF-8", "NO_COLOR": None, "TMUX": None, **(env or {})}
        with open(self.path("window"), "w") as f:
            term = f"TERM={env['TERM']} " if (more := env.get("TERM")) and more != os.environ.get("TERM") else ""
            f.write(SCRIPT.format(dir=shlex.quote(self.dir), command=term + shlex.join(map(str, command))))
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, f"exec sh {shlex.quote(self.path('window'))}",
                  env={k: v for k, v in env.items() if v is not None})

    def path(self, name):
        return os.path.join(self.dir, name)

    def tmux(self, *args, env=None):
        result = subprocess.run([tool.find("tmux"), "-S", self.socket, *map(str, args)], stdin=subprocess.DEVNULL,
                                capture_output=True, timeout=10, env=env)
        if result.returncode:
            raise tap.Failure(f"tmux {args}: {result.stderr.decode()}")
        return result.stdout.decode()

    def __enter__(self):
        return self

    def __exit__(self, failure=None, *_):
        if failure:
            self.t.note("the screen: " + "\n#   | ".join(self.screen()))
        self.tmux("kill-server")

    def screen(self):
        return self.tmux("capture-pane", "-p").rstrip("\n").split("\n")

    def raw(self):
        """With the escape sequences of colours and attributes."""
        return self.tmux("capture-pane", "-p", "-e")

    def flag(self, name):
        return self.tmux("display-message", "-p", f"#{{{name}}}").strip()

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def resize(self, width, height):
        self.tmux("resize-window", "-x", width, "-y", height)

    def pid(self):
        """Of the program."""
        children = proc.descendants(int(self.flag("pane_pid")))
        if len(children) != 1:
            raise tap.Failure(f"one program was expected, there are {len(children)}")
        return children[0]

    def wait(self, condition, what, timeout=10):
        """Until condition(the screen's lines); gives them."""
        seen = []

        def holds():
            seen[:] = self.screen()
            return condition(seen)

        if not proc.wait_until(holds, timeout, step=0.05):
            raise tap.Failure(f"{what}: not within {timeout} s")
        return seen

    def wait_text(self, text, timeout=10):
        return self.wait(lambda lines: any(text in line for line in lines), repr(text), timeout)

    def wait_end(self, status=0, timeout=10):
        """It has ended, and left the terminal as it was."""
        self.wait_text(f"ended with status {status}", timeout)
        proc.wait_until(lambda: os.path.exists(self.path("after")) and os.path.getsize(self.path("after")), 5)
        with open(self.path("before")) as before, open(self.path("after")) as after:
            self.t.equal(after.read(), before.read(), "the terminal's modes")
        self.t.equal([self.flag(f) for f in ("alternate_on", "cursor_flag", "keypad_flag")], ["0", "1", "0"],
                     "alternate screen, cursor, keypad")
