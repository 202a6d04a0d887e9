#!/bin/sh
# After the files have gone. dpkg says "remove", then perhaps "purge"; rpm how many
# versions are left.
set -e

case "$1" in
remove | purge | 0) ;;
*) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi

# The ledger is the only record of machines that cost money by the hour, and beside it
# are the passwords of those that have no SSH key. Not even a purge deletes them: it is
# often run by a program, and what a lost ledger costs is more than what its bytes do.
for state in /var/lib/private/tdscaler /var/lib/tdscaler; do
	if [ -e "$state/tdscaler.db" ]; then
		{
			echo "tdscaler: $state is KEPT. Its ledger is the only record of the machines that tdscaler bought."
			echo 'tdscaler: MACHINES THAT STILL EXIST GO ON COSTING MONEY. Look at https://dashboard.tensordock.com;'
			echo "tdscaler: when there are none whose name begins with tds-, rm -r $state removes it."
		} >&2
		break
	fi
done
if [ "$1" = purge ]; then
	for secret in /etc/tdscaler/api_key /etc/tdscaler/api_token; do
		if [ -e "$secret" ]; then
			echo "tdscaler: $secret is kept: it is yours, and the package never had it." >&2
		fi
	done
fi
