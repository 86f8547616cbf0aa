# SPDX-License-Identifier: Apache-2.0
from google import genai
from report_calls import QUESTION, report_calls

client = genai.Client()
REQUEST = {"model": "gemini-2.5-flash", "contents": QUESTION}

report_calls({
    "plain": lambda: client.models.generate_content(**REQUEST).text,
    "stream": lambda: "".join(chunk.text or "" for chunk in client.models.generate_content_stream(**REQUEST)),
})
