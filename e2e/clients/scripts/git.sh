#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Clones and pushes over https, with no credential helper and no prompt.
set -u
export GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
url=https://git.example.com/demo.git

report() { # the last line of an error, without what JSON would mind
  if [ "$2" -eq 0 ]; then printf '{"call":"%s","text":"%s"}\n' "$1" "Hello from the stand-in."
  else printf '{"call":"%s","error":"%s"}\n' "$1" "$(tail -n 1 "$folder/log" | tr -d '"\\')"; fi
}

git clone --quiet "$url" "$folder/work" >"$folder/log" 2>&1
report clone $?
cd "$folder/work" 2>/dev/null || cd "$folder" || exit 1
git -c user.name=Agent -c user.email=agent@example.com commit --quiet --allow-empty -m "pushed by an agent" >"$folder/log" 2>&1 &&
  git push --quiet origin HEAD:main >"$folder/log" 2>&1
report push $?
