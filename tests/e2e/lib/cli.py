# SPDX-License-Identifier: Apache-2.0
"""A subcommand that runs to its end: what it prints and how it ends."""
import os
import subprocess

from . import tap, tool


def call(t, subcommand, *args, wanted, env=None, timeout=20, **popen):
    """Demands the exit status. (standard output, standard error) as text. env: None as a value takes it away."""
    env = {k: v for k, v in {**os.environ, "CONTAINER_LOG_DIRECTORY": None, **(env or {})}.items() if v is not None}
    result = subprocess.run([tool.hotdrain(), subcommand, *map(str, args)], stdin=subprocess.DEVNULL,
                            capture_output=True, timeout=timeout, env=env, **popen)
    out, err = (text.decode("utf-8", "replace") for text in (result.stdout, result.stderr))
    t.equal(result.returncode, wanted, f"status of {subcommand} {' '.join(map(str, args))} ({tap.clip(err)})")
    return out, err


def refused(t, subcommand, *args, says, **more):
    """Status 2, nothing on standard output, and one line on standard error that says all of that."""
    out, err = call(t, subcommand, *args, wanted=2, **more)
    t.equal(out, "", "standard output")
    t.check(err.count("\n") == 1 and err.startswith("hotdrain: error: "), f"not one line of an error: {tap.clip(err)}")
    for text in [says] if isinstance(says, str) else says:
        t.check(text in err, f"{text!r} is not in {tap.clip(err)}")
