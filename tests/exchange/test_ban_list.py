"""The exchange's ban list: what it says, or one sentence about the line that is wrong."""

from datetime import date

import pytest

from exchange.files.ban_list import BanList, BanListError, read_ban_list

TITLE = "Securities in Ban For Trade Date 07-OCT-2026:"


def test_a_list_names_its_day_and_its_securities() -> None:
    text = f"{TITLE}\n1,AMBUJACEM\n2,M&M\r\n3,BAJAJ-AUTO\n"
    assert read_ban_list(text) == BanList(date(2026, 10, 7), ("AMBUJACEM", "M&M", "BAJAJ-AUTO"))


def test_a_day_without_bans_is_a_list() -> None:
    assert read_ban_list(f"{TITLE}\n") == BanList(date(2026, 10, 7), ())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "line 1"),
        ("1,SAIL\n", "line 1"),
        (f"{TITLE}\n1,SAIL\n3,IDEA\n", "line 3"),
        (f"{TITLE}\n1,SAIL,x\n", "line 2"),
        (f"{TITLE}\n1,sail\n", "line 2"),
        (TITLE.replace("07-OCT", "31-FEB") + "\n", "31-FEB-2026"),
    ],
)
def test_what_is_not_understood_is_refused_by_its_line(text: str, line: str) -> None:
    with pytest.raises(BanListError, match=line):
        read_ban_list(text)
