# Starts `fakeai serve` and leaves it running; waits until it answers and writes its address to the step's outputs.
set -euo pipefail
log=$(mktemp "${RUNNER_TEMP:-/tmp}/fakeai-serve.XXXXXX")
. "$(dirname "${BASH_SOURCE[0]}")/command.sh"
nohup "${fakeai[@]}" serve ${args[@]+"${args[@]}"} >"$log" 2>&1 &
pid=$!
deadline=$((SECONDS + ${READY_TIMEOUT_S:-30}))
while :; do
  url=$(grep -oEm1 'https?://[^ ]+' "$log" || true)
  if [ -n "$url" ] && curl --silent --fail --insecure --http2-prior-knowledge --max-time 2 --output /dev/null "$url/health"; then break; fi
  if [ -n "$url" ] && curl --silent --fail --insecure --max-time 2 --output /dev/null "$url/health"; then break; fi
  if ! kill -0 "$pid" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
    echo "::error::fakeai serve does not answer"
    cat "$log"
    kill "$pid" 2>/dev/null || true
    exit 1
  fi
  sleep 0.1
done
cat "$log"
{
  echo "url=$url"
  echo "pid=$pid"
} >>"$GITHUB_OUTPUT"
