#!/usr/bin/env bash
# Writes the plain manifests anew from the chart: serve.yaml, and bench.yaml with a token to be replaced.
set -euo pipefail
cd "$(dirname "$0")"
plain() { helm template --kube-version 1.31.0 fakeai ../helm/fakeai "$@" | sed '/helm.sh\/chart/d; /managed-by: Helm/d'; }
plain > serve.yaml
plain --set serve.enabled=false --set bench.enabled=true --set bench.token=REPLACE-ME > bench.yaml
