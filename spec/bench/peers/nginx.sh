#!/bin/sh
# nginx.sh FOLDER: nginx with its Lua module in a root of its own, FOLDER/nginx-root: Debian's module brings another LuaJIT,
# which would replace the one that we build with. Wants root.
set -eu
root=$1/nginx-root
[ -x "$root/usr/sbin/nginx" ] && exit 0
[ "$(id -u)" = 0 ]
command -v mmdebstrap >/dev/null || apt-get install -y -qq mmdebstrap >/dev/null
rm -rf "$root"
mmdebstrap --quiet --variant=minbase --include=nginx-light,libnginx-mod-http-lua,lua-cjson bookworm "$root"
