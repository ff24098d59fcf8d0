"""Runs attacks on command, each in a thread of its own.

A line of JSON on stdin ({"id", "attack", "port", "tls", "h2", "ws"}) is answered by a line of JSON on stdout
({"id", "observed"} or {"id", "error"}).
"""

import json
import sys
import threading

sys.path.insert(0, __file__.rsplit("/", 1)[0])

import connections
import h1
import h2
import ws

ATTACKS = {"h1": {**connections.ATTACKS, **h1.ATTACKS}, "h2": {**connections.ATTACKS, **h2.ATTACKS}, "ws": ws.ATTACKS}
lock = threading.Lock()


def run(command):
    try:
        answer = {"observed": ATTACKS["ws" if command["ws"] else "h2" if command["h2"] else "h1"][command["attack"]](command)}
    except Exception as error:  # the suite shows it as a failure of the attack
        answer = {"error": f"{type(error).__name__}: {error}"}
    with lock:
        print(json.dumps({"id": command["id"], **answer}), flush=True)


for line in sys.stdin:
    threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()
