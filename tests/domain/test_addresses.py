"""One stranger, whatever address of his he comes from, and two who only look alike are two."""

import pytest

from domain.addresses import ADDRESS_MAX, network_of


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:7::1", "2001:db8:0:7::/64"),
        ("2001:DB8:0:7:ffff::2", "2001:db8:0:7::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not an address", "not an address"),
        ("x" * 1000, "x" * ADDRESS_MAX),
        ("", "unknown"),
    ],
)
def test_an_address_counts_as_its_network(address: str, counts_as: str) -> None:
    assert network_of(address) == counts_as
