# SPDX-License-Identifier: Apache-2.0
import asyncio

import aiohttp
from report_calls import CHAT_URL, chat_body, chat_headers, report_calls, streamed_text_of, text_of


async def post(stream):
    # Without trust_env aiohttp ignores HTTPS_PROXY.
    async with aiohttp.ClientSession(trust_env=True, raise_for_status=True) as session:
        async with session.post(CHAT_URL, headers=chat_headers(), json=chat_body(stream)) as answer:
            if not stream:
                return text_of(await answer.json())
            return streamed_text_of([line async for line in answer.content])


report_calls({"plain": lambda: asyncio.run(post(False)), "stream": lambda: asyncio.run(post(True))})
