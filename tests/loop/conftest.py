"""Tests of the loop's parts with real files, processes and waits, and without an engine."""

from __future__ import annotations

import signal

# a shell that starts the tests in the background makes all processes ignore these
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
