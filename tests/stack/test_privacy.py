"""A running stack is nobody else's: no file, port or secret in sight, no power beyond an ordinary user's."""

import os
from pathlib import Path

from config.settings import Settings
from stack.ordinary_user import make_private
from stack.supervision import Supervisor
from tests.stack.test_up import hundi, stop, until_up
from tests.support.market import Market
from tests.support.privacy import faults, open_to_others, spoken


def test_the_servers_of_an_open_directory_of_before_are_an_ordinary_user_s_and_closed(
    fresh_settings: Settings,
) -> None:
    directory = fresh_settings.data_dir
    directory.chmod(0o755)
    (directory / "logs").mkdir(mode=0o755)
    (directory / "logs" / "api.log").write_text("of before")
    (directory / "logs" / "api.log").chmod(0o644)
    until_up(up := hundi(fresh_settings, "up", "--servers"))
    status = hundi(fresh_settings, "status").communicate(timeout=60)[0]
    assert faults(fresh_settings, Supervisor(directory, []).pids()) == []
    assert open_to_others(directory) == []
    assert spoken(fresh_settings, status, stop(up)) == []


def test_every_process_of_the_market_is_an_ordinary_user_s_and_closed(market: Market) -> None:
    assert faults(market.settings, market.supervisor.pids()) == []
    assert open_to_others(market.settings.data_dir) == []
    assert spoken(market.settings) == []


def test_links_out_of_the_directory_are_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("somebody's")
    outside.chmod(0o644)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(outside)
    make_private(tmp_path / "data")
    assert outside.stat().st_mode & 0o777 == 0o644
    assert outside.stat().st_uid == os.geteuid()
