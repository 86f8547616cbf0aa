# SPDX-License-Identifier: Apache-2.0
import requests
from report_calls import CHAT_URL, chat_body, chat_headers, report_calls, streamed_text_of, text_of


def post(stream):
    answer = requests.post(CHAT_URL, headers=chat_headers(), json=chat_body(stream), stream=stream, timeout=30)
    answer.raise_for_status()
    return answer


report_calls({
    "plain": lambda: text_of(post(False).json()),
    "stream": lambda: streamed_text_of(post(True).iter_lines()),
})
