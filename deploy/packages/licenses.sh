#!/usr/bin/env bash
# The licences of the modules that are linked into a binary, in one text: they ask to be
# passed on with it. Usage: licenses.sh BINARY, from the project's root.
set -euo pipefail

echo "tdscaler is under the Apache License 2.0, see LICENSE. What is linked into it is under"
echo "the licences that follow; so is Go's own library:"
cat "$(go env GOROOT)/LICENSE"
go version -m "$1" | while read -r kind module version _; do
	if [ "$kind" != dep ]; then
		continue
	fi
	dir=$(go list -m -f '{{.Dir}}' "$module")
	printf '\n%s\n%s %s\n%s\n' "$(printf '=%.0s' {1..80})" "$module" "$version" "$(printf '=%.0s' {1..80})"
	found=
	for file in "$dir"/LICEN[SC]E* "$dir"/COPYING* "$dir"/NOTICE*; do
		if [ -f "$file" ]; then
			cat "$file"
			found=1
		fi
	done
	if [ -z "$found" ]; then
		echo "$module has no licence" >&2
		exit 1
	fi
done
