# Runs `fakeai bench`: its exit code is the step's, its answers are the step's summary, its files are in $OUT.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/command.sh"
while IFS= read -r line; do
  if [ -n "$line" ]; then args+=(--require "$line"); fi
done <<<"${REQUIRE:-}"
echo "result=$OUT" >>"$GITHUB_OUTPUT"
exec "${fakeai[@]}" bench --out "$OUT" --export csv,junit,github ${args[@]+"${args[@]}"}
