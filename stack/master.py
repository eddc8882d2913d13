"""Writes `config/instrument_master.csv`: some 270 real instruments for the embedded market.

Facts come from the market files at HUNDI_MARKET_DATA (Kite lists and F&O bhavcopy of December 2025, price
bands, freeze quantities, the 2017 ISIN lists, the tick day of June 2021); the files themselves stay there.
Derivatives are models, without an expiry: the January 2026 contracts' lots, ticks, strikes and settlement
prices are the exchange's, and domain/series.py makes of each the contracts of a day. They are only ever added
to, at the end: a contract's token counts them.
Shares that are no longer listed keep their last token and their price of the tick day. ISINs are of 2017.
Run by hand: `python -m stack.master`. Rules of tick and band: NSE, as in the instrument master's columns.
"""

import csv
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

from domain.instruments import Instrument, InstrumentKind, Segment
from domain.money import paise
from domain.series import option_band

MASTER = Path(__file__).parent.parent / "config" / "instrument_master.csv"
COLUMNS = list(Instrument.__dataclass_fields__)
SOURCE_EXPIRY = "2026-01-27"
FREEZE_UNLISTED = 100_000
"""Largest order of an instrument that the exchange's freeze list does not name."""
DELISTED_TOKENS = {"HDFC": 1330, "TATAMOTORS": 3456}

# ETFs have no price in the files: a round level opens their embedded market.
ETFS = {
    "NIFTYBEES": "293.00", "BANKBEES": "610.00", "JUNIORBEES": "745.00", "GOLDBEES": "111.00",
    "SILVERBEES": "205.00", "ITBEES": "40.00", "PSUBNKBEES": "93.00", "CPSEETF": "92.00",
    "LIQUIDBEES": "1000.00", "PHARMABEES": "23.00", "AUTOBEES": "280.00", "MON100": "220.00",
    "SETFNIF50": "277.00", "SETFNIFBK": "602.00", "HDFCGOLD": "115.00",
}  # fmt: skip
MORE_SHARES = (
    "ADANIENT", "APOLLOHOSP", "BEL", "TRENT", "JIOFIN", "SHRIRAMFIN", "ETERNAL", "MAXHEALTH",
    "INDIGO", "DLF", "GODREJCP", "HAVELLS", "PIDILITIND", "SIEMENS", "VEDL", "TATAPOWER", "PNB",
    "BANKBARODA", "CANBK", "IDFCFIRSTB", "YESBANK", "IRCTC", "IRFC", "HAL", "BHEL", "SAIL", "GAIL",
    "AMBUJACEM", "DABUR", "LUPIN", "AUROPHARMA", "BIOCON", "MARICO", "VOLTAS", "NAUKRI", "TVSMOTOR",
)  # fmt: skip
FUTURES = (
    "RELIANCE", "TCS", "INFY", "HDFCBANK", "ICICIBANK", "SBIN", "AXISBANK", "KOTAKBANK", "ITC",
    "LT", "BHARTIARTL", "HINDUNILVR", "MARUTI", "SUNPHARMA", "TATASTEEL", "WIPRO", "HCLTECH",
    "TITAN", "BAJFINANCE", "NTPC", "ONGC", "POWERGRID", "COALINDIA", "JSWSTEEL", "M&M",
)  # fmt: skip
OPTION_STRIKES = {"NIFTY": 10, "BANKNIFTY": 8, "RELIANCE": 3, "HDFCBANK": 3, "TCS": 3, "INFY": 3, "SBIN": 3}
INDICES = {
    "NIFTY": "NIFTY 50",
    "BANKNIFTY": "NIFTY BANK",
    "FINNIFTY": "NIFTY FIN SERVICE",
    "MIDCPNIFTY": "NIFTY MID SELECT",
    "NIFTYNXT50": "NIFTY NEXT 50",
}
BSE_LISTINGS = 60
Row = dict[str, str]


class Sources:
    """The market files, indexed by what they are looked up by."""

    def __init__(self, files: Path) -> None:
        self.files = files
        kite = "instruments/kite_{}_instruments_2025-12.csv.gz"
        self.cash = {row["tradingsymbol"]: row for row in self.rows(kite.format("nse"))}
        self.contracts = {row["exchange_token"]: row for row in self.rows(kite.format("nfo"))}
        bhavcopy = [r for r in self.rows("bhavcopy/BhavCopy_NSE_fo_20251230.csv.gz") if r["UndrlygPric"]]
        self.closes = {row["TckrSymb"]: rounded(row["UndrlygPric"]) for row in bhavcopy}
        self.series = [row for row in bhavcopy if row["XpryDt"] == SOURCE_EXPIRY]
        self.bands = {row["Symbol"]: row["Band"] for row in self.rows("limits/sec_list_2025-12-12.csv")}
        self.freezes = {
            row["SYMBOL"]: int(row["VOL_FRZ_QTY"]) for row in self.rows("limits/qtyfreeze_openalgo.csv")
        }
        listed = self.rows("instruments/nse_equity_list_2017-05-26.csv")
        self.isins = {row["SYMBOL"]: row["ISIN NUMBER"] for row in listed}
        self.tick_day = {
            row["symbol"]: rounded(row["ltp"])
            for row in self.rows("ticks/nse_ticks_2021-06-11_nifty50_and_indices.csv.gz")
        }

    def rows(self, name: str) -> Iterator[Row]:
        path = self.files / name
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for row in csv.DictReader(text.decode("utf-8-sig", "replace").splitlines()):
            yield {(key or "").strip(): (value or "").strip() for key, value in row.items() if key != ""}

    def scrips(self) -> Iterator[tuple[int, str, str, str]]:
        """Code, id, name and ISIN of the BSE's shares."""
        text = gzip.decompress((self.files / "instruments/bse_scrip_master_2017-05-25.txt.gz").read_bytes())
        for line in text.decode("latin-1").splitlines():
            field = line.split("|")
            if len(field) > 17 and field[0].startswith("5") and field[6].strip() in {"A", "B"}:
                yield int(field[0]), field[2].strip(), field[3].strip().title(), field[17].strip()


def rounded(price: str) -> int:
    """Paise of a price that may carry more decimals than two (index levels do)."""
    return round(float(price) * 100)


def cash_tick(close: int) -> int:
    """Paise of the tick by the last close (NSE's slabs of 2025)."""
    slabs = ((25_000, 1), (100_000, 5), (500_000, 10), (1_000_000, 50), (2_000_000, 100))
    return next((tick for below, tick in slabs if close < below), 500)


def band(close: int, percent: int, tick: int) -> tuple[int, int]:
    """Lower and upper band, a percentage of the close, rounded inward to the tick."""
    lower = -(-close * (100 - percent) // (100 * tick)) * tick
    return max(lower, tick), close * (100 + percent) // (100 * tick) * tick


def cash(source: Sources, symbol: str, kind: InstrumentKind, close: int) -> Instrument:
    listed = source.cash.get(symbol)
    tick = paise(listed["tick_size"]) if listed else cash_tick(close)
    percent = source.bands.get(symbol, "20")
    dynamic = percent == "No Band"
    lower, upper = band(close, 10 if dynamic else int(percent), tick)
    return Instrument(
        instrument_id=f"NSE:{symbol}", exchange="NSE", symbol=symbol,
        token=int(listed["exchange_token"]) if listed else DELISTED_TOKENS[symbol],
        segment=Segment.CASH, kind=kind, name=(listed["name"].title() if listed else symbol),
        isin=source.isins.get(symbol), tick_size=tick, lot_size=1,
        freeze_quantity=source.freezes.get(symbol, FREEZE_UNLISTED), previous_close=close,
        lower_band=lower, upper_band=upper, dynamic_band=dynamic, tradable=True,
    )  # fmt: skip


def index(source: Sources, symbol: str, close: int) -> Instrument:
    lower, upper = band(close, 20, 5)
    return Instrument(
        instrument_id=f"NSE:{symbol}", exchange="NSE", symbol=symbol,
        token=int(source.cash[symbol]["exchange_token"]), segment=Segment.CASH, kind=InstrumentKind.INDEX,
        name=symbol.title(), isin=None, tick_size=5, lot_size=1, freeze_quantity=1, previous_close=close,
        lower_band=lower, upper_band=upper, dynamic_band=False, tradable=False,
    )  # fmt: skip


def model(source: Sources, row: Row) -> Instrument:
    """A future or option of the bhavcopy's January series, without its month."""
    underlying = row["TckrSymb"]
    option = row["OptnTp"] or None
    tick = paise(source.contracts[row["FinInstrmId"]]["tick_size"])
    close = max(tick, rounded(row["SttlmPric"]) // tick * tick)
    lower, upper = option_band(close, tick) if option else band(close, 10, tick)
    symbol = row["FinInstrmNm"].replace("26JAN", "", 1)
    lot = int(row["NewBrdLotQty"])
    return Instrument(
        instrument_id=f"NSE:{symbol}", exchange="NSE", symbol=symbol, token=int(row["FinInstrmId"]),
        segment=Segment.FO, kind=InstrumentKind.OPTION if option else InstrumentKind.FUTURE, name=symbol,
        isin=None, tick_size=tick, lot_size=lot,
        freeze_quantity=max(source.freezes.get(underlying, FREEZE_UNLISTED) // lot, 1) * lot,
        previous_close=close, lower_band=lower, upper_band=upper, dynamic_band=option is None, tradable=True,
        underlying=f"NSE:{INDICES.get(underlying, underlying)}", option_type=option,
        strike=paise(row["StrkPric"]) if option else None,
    )  # fmt: skip


def nearest_strikes(rows: list[Row], count: int) -> list[Row]:
    """Calls and puts of the strikes next to the underlying's price."""
    spot = float(rows[0]["UndrlygPric"])
    strikes = sorted({float(row["StrkPric"]) for row in rows}, key=lambda strike: abs(strike - spot))[:count]
    return sorted(
        (row for row in rows if float(row["StrkPric"]) in strikes),
        key=lambda row: (float(row["StrkPric"]), row["OptnTp"]),
    )


def derivatives(source: Sources) -> Iterator[Instrument]:
    for row in source.series:
        is_future = row["FinInstrmTp"] in {"IDF", "STF"}
        if is_future and row["TckrSymb"] in {*FUTURES, *INDICES}:
            yield model(source, row)
    for underlying, count in OPTION_STRIKES.items():
        rows = [row for row in source.series if row["TckrSymb"] == underlying and row["OptnTp"]]
        for row in nearest_strikes(rows, count):
            yield model(source, row)


def on_bse(shares: list[Instrument], source: Sources) -> Iterator[Instrument]:
    """The BSE's listings of the same shares, joined by ISIN; their token is the scrip code."""
    scrips = {isin: (code, name) for code, _, name, isin in source.scrips()}
    joined = [share for share in shares if share.isin in scrips][:BSE_LISTINGS]
    for share in joined:
        code, name = scrips[str(share.isin)]
        fields = {column: getattr(share, column) for column in COLUMNS}
        fields |= {"instrument_id": f"BSE:{share.symbol}", "exchange": "BSE", "token": code, "name": name}
        yield Instrument(**fields)


def master(source: Sources) -> list[Instrument]:
    tick_day_shares = [symbol for symbol in source.tick_day if not symbol.startswith("NIFTY")]
    shares = [
        cash(source, symbol, InstrumentKind.EQUITY, source.closes.get(symbol, source.tick_day.get(symbol, 0)))
        for symbol in [*sorted(tick_day_shares), *MORE_SHARES]
    ]
    levels = {name: close for name, close in source.tick_day.items() if name.startswith("NIFTY")}
    levels |= {name: source.closes[underlying] for underlying, name in INDICES.items()}
    return [
        *shares,
        *(cash(source, symbol, InstrumentKind.ETF, paise(close)) for symbol, close in ETFS.items()),
        *(index(source, symbol, close) for symbol, close in sorted(levels.items())),
        *derivatives(source),
        *on_bse(shares, source),
    ]


def main() -> None:
    instruments = master(Sources(Path(os.environ.get("HUNDI_MARKET_DATA", "../shared/data"))))
    if len({(i.exchange, i.token) for i in instruments}) != len(instruments):
        raise SystemExit("two instruments of one exchange share a token")
    with MASTER.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for instrument in instruments:
            values = (getattr(instrument, column) for column in COLUMNS)
            writer.writerow("" if value is None else value for value in values)
    print(f"{len(instruments)} instruments in {MASTER}")


if __name__ == "__main__":
    main()
