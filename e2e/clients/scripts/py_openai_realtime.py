# SPDX-License-Identifier: Apache-2.0
import os

from openai import OpenAI
from report_calls import report_calls

BASE_URL = os.environ.get("OPENAI_BASE_URL")
client = OpenAI(websocket_base_url=None if BASE_URL is None else BASE_URL.replace("http", "ws", 1))


def answer():
    with client.realtime.connect(model="gpt-realtime") as connection:
        connection.response.create()
        for event in connection:
            if event.type == "response.output_text.done":
                return event.text


report_calls({"WebSocket": answer})
