#!/usr/bin/env bash
# What a release consists of, for linux on amd64 and arm64: a tarball, a .deb, an .rpm and a
# bill of materials each, and the checksums of all. Usage: dist.sh FOLDER, from the
# project's root, with nfpm named by $NFPM.
#
# It builds what is committed, in a clone of its own. The same revision and the same Go
# give the same bytes, wherever and whenever; "make dist-check" proves it.
set -euo pipefail

mkdir -p "$1"
out=$(cd "$1" && pwd)
nfpm=$(readlink -f "${NFPM:?}")
if [ -n "$(git status --porcelain)" ]; then
	echo 'dist: what is not committed is left out' >&2
fi
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
git clone --quiet . "$work/src"
cd "$work/src"

umask 022
export LC_ALL=C TZ=UTC CGO_ENABLED=0
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# The manual, the completions and the version come from a binary that runs here.
make -s build BIN="$work/host"
host=$work/host/tdscaler
version=$("$host" version --json | sed -n 's/.*"version": "v\(.*\)".*/\1/p')
# v1.2.0-rc.1 comes before v1.2.0 for dpkg and rpm, too.
DIST_VERSION=$(sed 's/-/~/; s/-/./g' <<<"$version")
export DIST_VERSION
rm -f "$out"/tdscaler[-_]* "$out"/SHA256SUMS

# tree ARCH FOLDER PREFIX [VARIABLE=VALUE...] lays the files out.
tree() {
	local arch=$1 folder=$2 prefix=$3
	shift 3
	make -s install BIN="$work/$arch" HOST="$host" DESTDIR="$folder" PREFIX="$prefix" "$@"
}

for arch in amd64 arm64; do
	GOOS=linux GOARCH=$arch make -s build BIN="$work/$arch"
	name=tdscaler-$version-linux-$arch
	go run ./internal/sbom "$work/$arch/tdscaler" >"$out/$name.cdx.json"

	gzip -9nc <"$out/$name.cdx.json" >"$work/$arch/sbom.cdx.json.gz"
	deploy/packages/licenses.sh "$work/$arch/tdscaler" | gzip -9n >"$work/$arch/third-party-licenses.gz"

	# For tar -C /usr/local --strip-components=1: nothing of it goes to /etc.
	tree "$arch" "$work/tar-$arch" /usr/local
	mv "$work/tar-$arch/usr/local" "$work/$name"
	mv "$work/tar-$arch/etc/tdscaler/policies.yaml" "$work/$name/share/doc/tdscaler/examples/"
	tar -C "$work" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -c "$name" | gzip -9n >"$out/$name.tar.gz"

	export DIST_ARCH=$arch
	for kind in deb rpm; do
		rm -rf stage
		if [ $kind = deb ]; then
			tree "$arch" "$PWD/stage" /usr zshdir=/usr/share/zsh/vendor-completions
			install -D -m 0644 deploy/packages/copyright stage/usr/share/doc/tdscaler/copyright
			# Debian's own form of a changelog, which says where ours is.
			printf 'tdscaler (%s) unstable; urgency=medium\n\n  * What is new is in CHANGELOG.md.gz, beside this file.\n\n -- The tdscaler project <tdscaler@users.noreply.github.com>  %s\n' \
				"$DIST_VERSION" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >stage/usr/share/doc/tdscaler/changelog.gz
			install -D -m 0644 deploy/packages/lintian-overrides stage/usr/share/lintian/overrides/tdscaler
		else
			tree "$arch" "$PWD/stage" /usr
		fi
		"$nfpm" package -f deploy/packages/nfpm.yaml -p $kind -t "$out/"
	done
done

cd "$out"
sha256sum -- tdscaler* >SHA256SUMS
ls -l
