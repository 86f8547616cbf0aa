# SPDX-License-Identifier: Apache-2.0
import httpx
from report_calls import CHAT_URL, chat_body, chat_headers, report_calls, streamed_text_of, text_of


def plain():
    return text_of(httpx.post(CHAT_URL, headers=chat_headers(), json=chat_body(False)).raise_for_status().json())


def stream():
    with httpx.stream("POST", CHAT_URL, headers=chat_headers(), json=chat_body(True)) as answer:
        answer.raise_for_status()
        return streamed_text_of(answer.iter_lines())


report_calls({"plain": plain, "stream": stream})
