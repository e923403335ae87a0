"""Addresses that are reached from this machine alone."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def host_name(header: str) -> str:
    """Return the name or address in a `Host` header, without its port."""
    name, _, port = header.rpartition(":")
    return (name if port.isdecimal() and name else header).strip().lower()
