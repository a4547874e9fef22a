"""The real command line, with something happening to it at an exact moment.

``MISHAP="<event> <end of path> <nth time> <signal> [<signal>]"``: the process sends itself the signals right before
the nth opening (``open``), or renaming to (``os.rename``), of a file whose path ends so.
"""

import os
import signal
import sys

event, ending, number, *signals = os.environ["MISHAP"].split()
seen = 0


def hook(name, arguments):
    global seen
    if name != event or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    if os.fsdecode(arguments[1 if event == "os.rename" else 0]).endswith(ending):
        seen += 1
        if seen == int(number):
            for name in signals:
                os.kill(os.getpid(), getattr(signal, name))


sys.addaudithook(hook)

from kdyolo.cli.main import main  # noqa: E402

main()
