# SPDX-License-Identifier: Apache-2.0
import json
import os

from report_calls import report_calls
from websockets.sync.client import connect

BASE_URL = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
URL = BASE_URL.replace("http", "ws", 1) + "/realtime?model=gpt-realtime"


def answer():
    headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    with connect(URL, additional_headers=headers) as socket:
        socket.send(json.dumps({"type": "response.create"}))
        for message in socket:
            event = json.loads(message)
            if event["type"] == "response.output_text.done":
                return event["text"]


report_calls({"WebSocket": answer})
