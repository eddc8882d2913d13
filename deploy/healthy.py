"""Is a process of ours healthy? Exit code 0 or 1, for the health checks of docker-compose.yml.

`healthy.py process api` asks Redis for the key that the process writes while it can do its work
(bus/health.py); `healthy.py port 9880` connects. Standard library alone, so that it costs little.
"""

import os
import socket
import sys
from urllib.parse import unquote, urlsplit

SECONDS = 3


def main(kind: str, name: str) -> bool:
    if kind == "port":
        socket.create_connection(("127.0.0.1", int(name)), SECONDS).close()
        return True
    url = urlsplit(os.environ["HUNDI_REDIS_URL"])
    with socket.create_connection((url.hostname, url.port or 6379), SECONDS) as redis:
        answers = redis.makefile("rb")
        redis.sendall(_command("AUTH", unquote(url.username or "default"), unquote(url.password or "")))
        answers.readline()
        redis.sendall(_command("EXISTS", f"health:{name}"))
        return answers.readline() == b":1\r\n"


def _command(*words: str) -> bytes:
    bulks = (b"$%d\r\n%s\r\n" % (len(word), word) for word in map(str.encode, words))
    return b"*%d\r\n" % len(words) + b"".join(bulks)


if __name__ == "__main__":
    try:
        healthy = main(*sys.argv[1:])
    except OSError as error:
        sys.exit(f"not healthy: {error}")
    sys.exit(0 if healthy else f"not healthy: {sys.argv[2]} does not report")
