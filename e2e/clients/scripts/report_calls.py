# SPDX-License-Identifier: Apache-2.0
"""Makes the calls given and prints one JSON line for each; the runner judges."""

import json
import os

QUESTION = "Say hello."
MESSAGES = [{"role": "user", "content": QUESTION}]
CHAT_URL = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1") + "/chat/completions"


def report_calls(calls):
    for call, make in calls.items():
        try:
            print(json.dumps({"call": call, "text": make()}), flush=True)
        except Exception as error:  # whatever it is, the runner shows it
            print(json.dumps({"call": call, "error": repr(error)}), flush=True)


def chat_headers():
    return {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}


def chat_body(stream):
    return {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": stream}


def text_of(answer):
    return answer["choices"][0]["message"]["content"]


def streamed_text_of(lines):
    text = ""
    for line in lines:
        line = line.decode() if isinstance(line, bytes) else line
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                text += choice["delta"].get("content") or ""
    return text
