"""Where a process takes connections, as the kernel knows it."""

from pathlib import Path

_LISTEN = "0A"
_LOOPBACK_6 = ("00000000000000000000000001000000", "0000000000000000FFFF00000100007F")


def listened_at(pid: int) -> set[str]:
    """TCP addresses in the kernel's own writing: `0100007F:1F90` is 127.0.0.1:8080."""
    links = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()]
    inodes = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}
    tables = [Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for lines in tables for line in lines]
    return {row[1] for row in rows if row[3] == _LISTEN and row[9] in inodes}


def is_loopback(address: str) -> bool:
    host = address.partition(":")[0]
    return host[6:] == "7F" if len(host) == 8 else host in _LOOPBACK_6
