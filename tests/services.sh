#!/usr/bin/env bash
# Programs beside Python that some tests start: installed where this is Debian and we are root. What is not to be had is
# said, and its tests skip with the same reason. Servers are started by the tests themselves, on loopback.
set -u
declare -A package=([chromium]="chromium fonts-liberation" [promtool]=prometheus [strace]=strace [postgres]=postgresql
    [mkfs.ext4]=e2fsprogs [losetup]=mount)
found() {
    command -v "$1" >/dev/null || ls /usr/sbin/"$1" /usr/lib/postgresql/*/bin/"$1" >/dev/null 2>&1
}
missing=""
for program in "${!package[@]}"; do
    found "$program" || missing="$missing ${package[$program]}"
done
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
        >/dev/null 2>&1 || true
fi
for program in "${!package[@]}"; do
    found "$program" && echo "there: $program" || echo "not to be had: $program; its tests skip"
done | sort
[ -x .venv/bin/weed ] && echo "there: weed (S3)" || echo "not to be had: weed; tests on S3 skip"
