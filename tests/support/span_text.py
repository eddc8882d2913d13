"""A small SPAN file as NSE Clearing lays its own out, every number in it made up: two currencies against INR.

Written by hand, apart from the code that reads and writes such files, so that a mistake of theirs is not
repeated here. Tests copy its numbers as they would from a real one.
"""

import gzip
from collections.abc import Iterable
from datetime import date
from pathlib import Path

BUSINESS_DATE, MAY, JUNE = date(2031, 5, 26), date(2031, 5, 28), date(2031, 6, 26)
FLAT = " ".join(["0.00"] * 16)
NEAR_FUTURE = (
    "12.37 12.37 -604.19 -604.19 628.43 628.43 -1221.05 -1221.05 "
    "1244.81 1244.81 -1838.66 -1838.66 1861.52 1861.52 -1287.93 1301.07"
)
FAR_FUTURE = (
    "12.41 12.41 -606.02 -606.02 631.88 631.88 -1225.13 -1225.13 "
    "1249.22 1249.22 -1844.31 -1844.31 1866.93 1866.93 -1291.44 1306.25"
)
DOLLAR_FUTURE = (
    "8.21 8.21 -281.14 -281.14 297.60 297.60 -570.50 -570.50 "
    "586.97 586.97 -859.85 -859.85 876.33 876.33 -604.88 610.37"
)
CALL = (
    "-30.15 4.22 -198.67 -171.30 131.06 171.29 -391.78 -376.45 "
    "271.44 305.12 -611.02 -602.55 371.90 398.76 -702.36 190.84"
)
PUT = (
    "-34.92 -6.73 231.85 268.04 -301.17 -285.31 486.62 541.98 "
    "-577.40 -565.13 741.29 819.07 -851.36 -842.20 561.74 -588.09"
)


def span_text() -> str:
    """The whole file."""
    pound = [
        _future(1, "203105", MAY, "98.2600", NEAR_FUTURE),
        _future(2, "203106", JUNE, "98.7150", FAR_FUTURE),
    ]
    dollar = [_future(1, "203105", MAY, "71.0400", DOLLAR_FUTURE)]
    near = [_option(1, "C", "71.0000", "0.4125", CALL), _option(2, "P", "71.0000", "0.3650", PUT)]
    far = [_option(1, "C", "72.5000", "0.8800", CALL), _option(2, "P", "75.2500", "3.6100", PUT)]
    series = [_series("203105", MAY, near), _series("203106", JUNE, far)]
    families = [
        _family("phyPf", 1, "GBPINR", "PHY", [_physical("98.1075")]),
        _family("phyPf", 4, "USDINR", "PHY", [_physical("70.9850")]),
        _family("futPf", 2, "GBPINR", "FUT", pound),
        _family("futPf", 5, "USDINR", "FUT", dollar),
        _family("oopPf", 6, "USDINR", "OOP", series),
    ]
    commodities = [
        _commodity("GBPINR", {1: "PHY", 2: "FUT"}, "7350", ["1625.000000"]),
        _commodity("USDINR", {4: "PHY", 5: "FUT", 6: "OOP"}, "0", ["425.000000", "1100.000000"]),
    ]
    return "\n".join(
        [
            '<?xml version="1.0"?>',
            "<spanFile>\n<fileFormat>4.00</fileFormat>\n<created>203105251931</created>",
            "<pointInTime>\n<date>20310526</date>\n<isSetl>0</isSetl>",
            "<clearingOrg>\n<ec>NSCCL</ec>\n<isContractScale>1</isContractScale>",
            _points(),
            "<exchange>\n<exch>NSE</exch>\n<name>National Stock Exchange of India</name>",
            *families,
            "</exchange>",
            *commodities,
            "<interSpreads>\n</interSpreads>\n</clearingOrg>\n</pointInTime>\n</spanFile>\n",
        ]
    )


def write_span(folder: Path) -> Path:
    """The file as it is published: gzipped."""
    path = folder / "nsccl_x.20310526.i01.spn.gz"
    path.write_bytes(gzip.compress(span_text().encode()))
    return path


def _points() -> str:
    moves = ("0.000000", "0.333333", "-0.333333", "0.666667", "-0.666667", "1.000000", "-1.000000")
    points = []
    for pair, price in enumerate(moves):
        points.append((price, "1.000000", "1.000000", 2 * pair + 2))
        points.append((price, "-1.000000", "1.000000", 2 * pair + 1))
    points += [("3.000000", "0.000000", "0.300000", 15), ("-3.000000", "0.000000", "0.300000", 16)]
    rows = [
        f"<scanPointDef>\n<point>{number}</point>\n<priceScanDef>\n<mult>{price}</mult>\n</priceScanDef>\n"
        f"<volScanDef>\n<mult>{volatility}</mult>\n</volScanDef>\n<weight>{weight}</weight>\n"
        f"<pairedPoint>{paired}</pairedPoint>\n</scanPointDef>"
        for number, (price, volatility, weight, paired) in enumerate(points, start=1)
    ]
    return "\n".join(["<pointDef>\n<r>1</r>", *rows, "</pointDef>"])


def _family(tag: str, number: int, product: str, kind: str, contracts: Iterable[str]) -> str:
    head = f"<{tag}>\n<pfId>{number}</pfId>\n<pfCode>{product}</pfCode>\n<name>{product}</name>"
    terms = f"<currency>INR</currency>\n<cvf>1000.00</cvf>\n<priceDl>4</priceDl>\n<pfType>{kind}</pfType>"
    return "\n".join([head, terms, *contracts, f"</{tag}>"])


def _physical(price: str) -> str:
    head = f"<phy>\n<cId>1</cId>\n<pe>000000</pe>\n<p>{price}</p>\n{_terms('0.00')}"
    return f"{head}\n{_array(FLAT, '1.00000')}\n</phy>"


def _future(number: int, period: str, expiry: date, price: str, losses: str) -> str:
    head = f"<fut>\n<cId>{number}</cId>\n<pe>{period}</pe>\n<p>{price}</p>\n{_terms('1850.00')}"
    return f"{head}\n<setlDate>{expiry:%Y%m%d}</setlDate>\n{_array(losses, '1.00000')}\n</fut>"


def _series(period: str, expiry: date, options: Iterable[str]) -> str:
    head = f"<series>\n<pe>{period}</pe>\n<setlDate>{expiry:%Y%m%d}</setlDate>\n{_terms('875.00')}"
    return "\n".join([head, *options, "</series>"])


def _option(number: int, kind: str, strike: str, price: str, losses: str) -> str:
    delta = "0.4630" if kind == "C" else "-0.9875"
    head = f"<opt>\n<cId>{number}</cId>\n<o>{kind}</o>\n<k>{strike}</k>\n<p>{price}</p>"
    return f"{head}\n{_array(losses, delta)}\n</opt>"


def _terms(price_scan: str) -> str:
    rate = f"<scanRate>\n<r>1</r>\n<priceScan>{price_scan}</priceScan>\n<volScan>0.10</volScan>\n</scanRate>"
    return f"<cvf>1000.00</cvf>\n<sc>1.00000</sc>\n{rate}"


def _array(losses: str, delta: str) -> str:
    return f"<ra><r>1</r>{''.join(f'<a>{loss}</a>' for loss in losses.split())}<d>{delta}</d></ra>"


def _commodity(code: str, portfolios: dict[int, str], floor: str, charges: Iterable[str]) -> str:
    links = [
        f"<pfLink>\n<exch>NSE</exch>\n<pfId>{number}</pfId>\n<pfCode>{code}</pfCode>\n<pfType>{kind}</pfType>\n</pfLink>"
        for number, kind in portfolios.items()
    ]
    legs = "".join(
        f"<pLeg>\n<cc>{code}</cc>\n<pe>{period}</pe>\n<rs>{side}</rs>\n<i>1.000000</i>\n</pLeg>\n"
        for period, side in (("203105", "A"), ("203106", "B"))
    )
    spreads = [
        f"<dSpread>\n<spread>{priority}</spread>\n<chargeMeth>F</chargeMeth>\n"
        f"<rate>\n<r>1</r>\n<val>{charge}</val>\n</rate>\n{legs}</dSpread>"
        for priority, charge in enumerate(charges, start=1)
    ]
    return "\n".join(
        [
            f"<ccDef>\n<cc>{code}</cc>\n<name>{code}</name>\n<group>\n<id>1</id>\n<aVal>ALL</aVal>\n</group>",
            "<currency>INR</currency>\n<somMeth>GROSS</somMeth>",
            *links,
            f"<somTiers>\n<tier>\n<tn>0</tn>\n<rate>\n<r>1</r>\n<val>{floor}</val>\n</rate>\n</tier>\n</somTiers>",
            *spreads,
            "</ccDef>",
        ]
    )
