# SPDX-License-Identifier: Apache-2.0
from anthropic import Anthropic
from report_calls import MESSAGES, report_calls

client = Anthropic()
REQUEST = {"model": "claude-haiku-5-5", "max_tokens": 100, "messages": MESSAGES}


def stream():
    with client.messages.stream(**REQUEST) as messages:
        return "".join(messages.text_stream)


report_calls({"plain": lambda: client.messages.create(**REQUEST).content[0].text, "stream": stream})
