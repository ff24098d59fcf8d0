#!/usr/bin/env bash
# Makes the images of the cluster without an image registry, into $1/images: a Debian of this machine's release with its node and npm, the
# Dockerfile's image on top of it, and one that sleeps for the sandboxes of pods. Needs root, debootstrap and buildah (Debian).
#   deploy/try/images.sh /tmp/cluster
set -euo pipefail
dir=${1:?the folder of the cluster}
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$dir/images"
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
store=(--root "$dir/store" --runroot "$dir/store-run")
if [ ! -s "$dir/base.tar" ]; then
  rm -rf "$dir/base"
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -n 1)
  debootstrap --variant=minbase --include=ca-certificates,libstdc++6 "$(. /etc/os-release; echo "$VERSION_CODENAME")" "$dir/base" "$mirror"
  install -m 755 "$(readlink -f "$(command -v node)")" "$dir/base/usr/bin/node"
  mkdir -p "$dir/base/usr/lib/node_modules"
  cp -a "$(npm root -g)/npm" "$dir/base/usr/lib/node_modules/npm"
  ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$dir/base/usr/bin/npm"
  # The registry of this machine, and whom it trusts.
  cp -L /etc/ssl/certs/ca-certificates.crt "$dir/base/etc/ssl/certs/ca-certificates.crt"
  mkdir -p "$dir/base/usr/etc"
  printf 'registry=%s\ncafile=/etc/ssl/certs/ca-certificates.crt\n' "$(npm config get registry)" > "$dir/base/usr/etc/npmrc"
  tar -C "$dir/base" -cf "$dir/base.tar" .
  rm -rf "$dir/base"
fi
make() { buildah "${store[@]}" bud --network host --layers=false "$@"; }
printf 'FROM scratch\nADD base.tar /\n' > "$dir/Base"
make -t localhost/node:try -f "$dir/Base" "$dir"
make -t localhost/fakeai:try --build-arg BASE=localhost/node:try -f "$root/deploy/Dockerfile" --ignorefile "$root/deploy/Dockerfile.dockerignore" "$root"
printf 'FROM localhost/node:try\nENTRYPOINT ["sleep", "infinity"]\n' > "$dir/Pause"
make -t localhost/pause:try -f "$dir/Pause" "$dir/images"
for name in fakeai pause; do
  rm -f "$dir/images/$name.tar"
  buildah "${store[@]}" push "localhost/$name:try" "docker-archive:$dir/images/$name.tar:localhost/$name:try"
done
