#!/bin/sh
# Valkey with the one user of ours, whose password is VALKEY_PASSWORD; whoever has none may do nothing.
# Nothing is kept on disk on purpose: the margin book is a view that is rebuilt from PostgreSQL.
set -eu
umask 077
digest=$(printf %s "$VALKEY_PASSWORD" | sha256sum | cut -d ' ' -f 1)
cat > /run/valkey/users.acl <<USERS
user default off resetpass nocommands
user hundi on #$digest allkeys allchannels +@all -@dangerous -@admin -function -swapdb
USERS
exec valkey-server --aclfile /run/valkey/users.acl --save "" --appendonly no
