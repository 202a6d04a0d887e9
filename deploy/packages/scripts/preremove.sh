#!/bin/sh
# Before the files go. dpkg says "remove" or "upgrade", rpm how many versions will be
# left. An upgrade leaves the daemon running until the new one is there.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac

config=/etc/tdscaler/policies.yaml
if [ -e "$config" ]; then
	# The list goes to whoever removes the package. That it cannot be had is no reason
	# to keep the package.
	machines=$(timeout 30 tdscaler machines --config "$config" 2>/dev/null | grep '^tds-' || true)
	if [ -n "$machines" ]; then
		{
			echo 'tdscaler: THESE MACHINES GO ON RUNNING AND COSTING MONEY WITHOUT TDSCALER:'
			echo "$machines"
			echo 'tdscaler: only "tdscaler destroy --all --yes" or the TensorDock dashboard ends their bills.'
		} >&2
	fi
fi

if [ -d /run/systemd/system ]; then
	systemctl --quiet --no-reload disable --now tdscaler.service 2>/dev/null || true
fi
