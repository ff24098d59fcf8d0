# shellcheck disable=SC2034
# Sourced by the others: `fakeai` is what runs it, `args` are the words of $ARGS.
# Without $PACKAGE it is this repository, as the action was asked for, built once.
if [ -n "${PACKAGE:-}" ]; then
  fakeai=(npx --yes "$PACKAGE")
else
  repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  [ -f "$repository/dist/cli.js" ] || (cd "$repository" && npm install --no-audit --no-fund)
  fakeai=(node "$repository/dist/cli.js")
fi
# xargs splits words as a shell does, quotes included, and runs nothing of them.
args=()
while IFS= read -r word; do args+=("$word"); done < <(printf '%s' "${ARGS:-}" | xargs -n 1 printf '%s\n' | sed '/^$/d')
