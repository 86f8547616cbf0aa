#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The answers themselves go to the runner, one JSON line each: it finds the text in them.
url=${OPENAI_BASE_URL:-https://api.openai.com/v1}/chat/completions

call() {
  curl --silent --show-error --fail-with-body --no-buffer --max-time 30 \
    -H "Authorization: Bearer $OPENAI_API_KEY" -H 'Content-Type: application/json' \
    -d "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"Say hello.\"}],\"stream\":$1}" "$url" 2>&1
}

text=$(call false | tr -d '\n' | sed -n 's/.*"content": *"\([^"]*\)".*/\1/p')
printf '{"call":"plain","text":"%s"}\n' "$text"
text=$(call true | sed -n 's/.*"delta":{"content":"\([^"]*\)".*/\1/p' | tr -d '\n')
printf '{"call":"stream","text":"%s"}\n' "$text"
