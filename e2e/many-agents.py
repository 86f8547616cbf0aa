# SPDX-License-Identifier: Apache-2.0
"""Many agents, one small process each, told apart by the path of their program: for each that is named on standard
input, one JSON object a line, a link to Python is started, which carries one connection after the other from a socket
of the test to the Workload API. Ends with it."""

import json
import os
import select
import shutil
import socket
import sys


def relay(agent):
    outside = socket.socket(socket.AF_UNIX)
    outside.bind(agent["relay"])
    outside.listen(8)
    print(json.dumps({"ready": agent["relay"]}), flush=True)
    while True:
        here, _ = outside.accept()
        there = socket.socket(socket.AF_UNIX)
        there.connect(agent["workloadSocket"])
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


if len(sys.argv) > 1:
    relay(json.loads(sys.argv[1]))

program = None
for line in sys.stdin:
    agent = json.loads(line)
    if program is None:
        # Links need one file system.
        program = shutil.copy(os.path.realpath(sys.executable), os.path.dirname(agent["path"]) + "/python")
    os.link(program, agent["path"])
    if os.fork() == 0:
        os.close(0)
        environment = {**os.environ, "PYTHONHOME": sys.base_prefix}
        os.execve(agent["path"], [agent["path"], __file__, line], environment)
