#!/bin/sh
# sample.sh: one reading of this machine as a JSON object, from /proc: how busy the processors were for half a second, how
# full memory and disk are.
cpu() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8, $2 + $3 + $4 + $5 + $6 + $7 + $8 }' /proc/stat; }
before=$(cpu)
sleep 0.5
after=$(cpu)
busy=$(echo "$before $after" | awk '{ d = $4 - $2; printf "%.1f", (d > 0 ? 100 * ($3 - $1) / d : 0) }')
memory=$(awk '/^MemTotal/ { t = $2 } /^MemAvailable/ { a = $2 } END { printf "%.1f", 100 * (t - a) / t }' /proc/meminfo)
disk=$(df -P / | awk 'NR == 2 { sub("%", "", $5); print $5 + 0 }')
load=$(cut -d ' ' -f 1 /proc/loadavg)
printf '{"host":"%s","time":"%s","cpu":{"busy_percent":%s},"memory":{"used_percent":%s},"disk":{"used_percent":%s},"load":%s}\n' \
    "$(uname -n)" "$(date -u +%H:%M:%S)" "$busy" "$memory" "$disk" "$load"
