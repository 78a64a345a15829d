# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Numbers from a program of the team's own on the controller, which writes JSON or one number."""

from __future__ import annotations

import json
import subprocess
import tempfile

from ...base.plan import Metric
from . import Sample, SourceError, Subject, http

#: Bytes of output that are read.
_LARGEST = 8 << 20


def measure(metric: Metric, subject: Subject) -> Sample:
    """Run ``argv`` without a shell. Another exit code than 0 is no measurement: a program that broke proves nothing."""
    argv = [subject.fill(word, str) for word in metric["argv"]]
    with tempfile.TemporaryFile() as out:  # a child that outlives the program cannot keep a file open for us
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                timeout=metric["timeout"],
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SourceError(f"{argv[0]} did not end within {metric['timeout']} seconds") from None
        except OSError as error:
            raise SourceError(f"{argv[0]} cannot be run ({error.strerror})") from None
        if done.returncode:
            raise SourceError(f"{argv[0]} ended with {done.returncode}")
        out.seek(0)
        content = out.read(_LARGEST)
    try:
        data = json.loads(content)
    except ValueError:
        raise SourceError(f"{argv[0]} wrote something that is not JSON") from None
    return http.reading(metric, data)
