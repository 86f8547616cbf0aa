# SPDX-License-Identifier: Apache-2.0
from langchain_openai import ChatOpenAI
from report_calls import QUESTION, report_calls

chat = ChatOpenAI(model="gpt-4o-mini")

report_calls({
    "plain": lambda: chat.invoke(QUESTION).content,
    "stream": lambda: "".join(chunk.content for chunk in chat.stream(QUESTION)),
})
