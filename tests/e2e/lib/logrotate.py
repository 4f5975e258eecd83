# SPDX-License-Identifier: Apache-2.0
"""Real logrotate on one file."""
import os
import subprocess

from . import tap, tool


def missing():
    """Why logrotate cannot be run, or None."""
    return None if tool.find("logrotate") else "no logrotate"


class Logrotate:
    """directives: lines of the configuration's block; scripts run as /bin/sh lines."""

    def __init__(self, directory, log, directives, before="", after=""):
        self.state = os.path.join(directory, "logrotate.state")
        self.config = os.path.join(directory, "logrotate.conf")
        lines = [f"{log} {{", *("\t" + d for d in directives)]
        if before:
            lines += ["\tprerotate", "\t\t" + before, "\tendscript"]
        if after:
            lines += ["\tpostrotate", "\t\t" + after, "\tendscript"]
        with open(self.config, "w") as f:
            f.write("\n".join(lines) + "\n}\n")
        os.chmod(self.config, 0o644)

    def rotate(self):
        result = subprocess.run([tool.find("logrotate"), "-f", "-s", self.state, self.config], stdin=subprocess.DEVNULL,
                                capture_output=True, timeout=30)
        if result.returncode:
            raise tap.Failure("logrotate: " + result.stderr.decode("utf-8", "replace"))
