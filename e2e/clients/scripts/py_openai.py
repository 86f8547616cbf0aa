# SPDX-License-Identifier: Apache-2.0
from openai import OpenAI
from report_calls import MESSAGES, QUESTION, report_calls

client = OpenAI()
MODEL = "gpt-4o-mini"


def stream():
    chunks = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


report_calls({
    "plain": lambda: client.chat.completions.create(model=MODEL, messages=MESSAGES).choices[0].message.content,
    "stream": stream,
    "responses plain": lambda: client.responses.create(model=MODEL, input=QUESTION).output_text,
})
