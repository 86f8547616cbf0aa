# SPDX-License-Identifier: Apache-2.0
"""Leaders of many runs, one small process each: launches the runs that are named on standard input, one JSON object a
line, and carries one connection after the other from a socket of the test to the run's Workload API. Ends with it."""

import json
import os
import select
import socket
import sys


def lead(run):
    gate = socket.socket()
    gate.bind(("127.0.0.1", 0))
    gate.listen(8)
    launch = socket.socket(socket.AF_UNIX)
    launch.connect(run["launchSocket"])
    socket.send_fds(launch, [(run["launchToken"] + "\n").encode()], [gate.fileno()])
    answer = launch.makefile().readline()
    if not answer.startswith("go"):
        raise RuntimeError(answer)
    outside = socket.socket(socket.AF_UNIX)
    outside.bind(run["relay"])
    outside.listen(8)
    print(json.dumps({"ready": run["relay"]}), flush=True)
    while True:
        here, _ = outside.accept()
        there = socket.socket(socket.AF_UNIX)
        there.connect(run["workloadSocket"])
        carry(here, there)


def carry(here, there):
    other = {here: there, there: here}
    while True:
        readable, _, _ = select.select([here, there], [], [])
        for each in readable:
            data = each.recv(65536)
            if not data:
                here.close()
                there.close()
                return
            other[each].sendall(data)


parent = os.getpid()
for line in sys.stdin:
    if os.fork() == 0:
        os.close(0)
        lead(json.loads(line))
