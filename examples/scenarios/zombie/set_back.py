"""`flo` on a machine whose wall clock was set back by a day."""

import sys
import time

DAY_NS = 86_400_000_000_000

_time_ns, _time = time.time_ns, time.time
time.time_ns = lambda: _time_ns() - DAY_NS
time.time = lambda: _time() - DAY_NS / 1e9

from flo.faces.cli.main import main  # noqa: E402

main(sys.argv[1:])
