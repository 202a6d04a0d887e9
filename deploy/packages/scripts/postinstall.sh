#!/bin/sh
# After the files are there. dpkg says "configure" and the version that was there
# before, or none; rpm says how many versions are there now.
set -e

case "$1" in
configure) before=$2 ;;
1) before= ;;
[0-9]*) before=another ;;
*) exit 0 ;;
esac

booted() { [ -d /run/systemd/system ]; }
running() { booted && systemctl --quiet is-active tdscaler.service; }

if booted; then
	systemctl daemon-reload
fi

if [ -z "$before" ]; then
	cat <<-'END'

	tdscaler is installed, and neither enabled nor started.
	  1. your TensorDock API key and token, one line each, for root alone:
	       install -m 0600 /dev/null /etc/tdscaler/api_key   and write it; the same with api_token
	  2. what you want:  /etc/tdscaler/policies.yaml, then: tdscaler check /etc/tdscaler/policies.yaml
	  3. systemctl enable --now tdscaler    dry until the file says "mode: live"

	END
	exit 0
fi

# An upgrade replaces a daemon that runs, but not by one that would refuse the file:
# the old one goes on working, as it is still in memory. Nowhere else: whatever ends it
# now ends it for good, so this is said as loudly as an apt that runs at night can.
if running; then
	if errors=$(tdscaler check /etc/tdscaler/policies.yaml 2>&1); then
		systemctl try-restart tdscaler.service ||
			echo 'tdscaler: THE SERVICE WAS NOT RESTARTED; its machines go on costing money: journalctl -u tdscaler' >&2
	else
		cat >&2 <<-END

			tdscaler: URGENT: THE UPGRADE IS NOT DONE. The new version finds errors in /etc/tdscaler/policies.yaml:
			$errors
			tdscaler: The old version goes on running, but in memory only: on disk is the new one.
			tdscaler: The next restart, by a crash, the watchdog or a reboot, ends with 2 and is NOT TRIED AGAIN;
			tdscaler: then nobody looks after the machines, which go on costing money.
			tdscaler: Now, either mend the file:  tdscaler check /etc/tdscaler/policies.yaml && systemctl restart tdscaler
			tdscaler: or install the package of before, which takes the file as it is.

		END
	fi
fi
