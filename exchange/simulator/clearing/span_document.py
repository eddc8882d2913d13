"""Writes SPAN parameters as a PC-SPAN 4.00 document, the format that exchange/files/span_parser.py reads.

What it writes reads back to equal parameters; elements of the format that our parameters do not hold (account
types, currencies, models) are left out. Called by span_publisher.py.
"""

from collections.abc import Iterable
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from domain.money import unscaled
from domain.span import (
    FRACTION_DECIMALS,
    PRICE_DECIMALS,
    CombinedCommodity,
    ContractKind,
    RiskContract,
    ScanPoint,
    SpanParameters,
    Spread,
)
from exchange.files.span_parser import FORMAT, PAISE_DECIMALS

_FAMILIES = {
    ContractKind.PHYSICAL: ("phyPf", "phy"),
    ContractKind.FUTURE: ("futPf", "fut"),
    ContractKind.CALL: ("oopPf", "opt"),
    ContractKind.PUT: ("oopPf", "opt"),
}


def span_document(span: SpanParameters) -> bytes:
    """The whole file."""
    root = Element("spanFile")
    _texts(root, fileFormat=FORMAT, created=span.created)
    point_in_time = SubElement(root, "pointInTime")
    _texts(point_in_time, date=f"{span.business_date:%Y%m%d}", isSetl="0")
    organisation = SubElement(point_in_time, "clearingOrg")
    _texts(organisation, ec=span.clearing_organisation, isContractScale="1")
    points = SubElement(organisation, "pointDef")
    for number, point in enumerate(span.scenarios, start=1):
        _scan_point(points, number, point)
    exchange = SubElement(organisation, "exchange")
    _texts(exchange, exch=span.exchange)
    contracts = sorted(span.contracts.values(), key=lambda c: (c.portfolio, c.period, c.key.strike or 0))
    for _, family in groupby(contracts, key=lambda c: c.portfolio):
        _family(exchange, list(family))
    for commodity in span.commodities.values():
        _commodity(organisation, commodity)
    _spreads(SubElement(organisation, "interSpreads"), span.inter_commodity_spreads, "P", "tLeg")
    indent(root, space="")
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _scan_point(parent: Element, number: int, point: ScanPoint) -> None:
    element = SubElement(parent, "scanPointDef")
    _texts(element, point=str(number))
    _texts(SubElement(element, "priceScanDef"), mult=_fraction(point.price_move))
    _texts(SubElement(element, "volScanDef"), mult=_fraction(point.volatility_move))
    _texts(element, weight=_fraction(point.weight), pairedPoint=str(point.paired))


def _family(exchange: Element, contracts: list[RiskContract]) -> None:
    key = contracts[0].key
    family_tag, contract_tag = _FAMILIES[key.kind]
    family = SubElement(exchange, family_tag)
    _texts(family, pfId=str(contracts[0].portfolio), pfCode=key.product, currency="INR")
    for _, grouped in groupby(contracts, key=lambda c: c.period):
        of_expiry = list(grouped)
        series = SubElement(family, "series" if key.kind.is_option else contract_tag)
        _series(series, of_expiry[0])
        for contract in of_expiry:
            _contract(SubElement(series, contract_tag) if key.kind.is_option else series, contract)


def _series(element: Element, contract: RiskContract) -> None:
    """What the options of an expiry have in common, and a future has by itself."""
    _texts(element, pe=contract.period, cvf=str(contract.multiplier), sc=_fraction(contract.delta_scaling))
    if contract.key.expiry is not None:
        _texts(element, setlDate=f"{contract.key.expiry:%Y%m%d}")
    _texts(
        SubElement(element, "scanRate"),
        r="1",
        priceScan=_amount(contract.price_scan),
        volScan=_fraction(contract.volatility_scan),
    )


def _contract(element: Element, contract: RiskContract) -> None:
    if contract.key.strike is not None:
        _texts(element, o=contract.key.kind.value, k=unscaled(contract.key.strike, PRICE_DECIMALS))
    _texts(element, p=unscaled(contract.price, PRICE_DECIMALS))
    array = SubElement(element, "ra")
    _texts(array, r="1")
    for loss in contract.losses:
        _texts(array, a=_amount(loss))
    _texts(array, d=_fraction(contract.composite_delta))


def _commodity(parent: Element, commodity: CombinedCommodity) -> None:
    element = SubElement(parent, "ccDef")
    _texts(element, cc=commodity.code, name=commodity.code)
    _texts(SubElement(element, "group"), id="1", aVal=commodity.group)
    _texts(element, currency="INR", somMeth=commodity.short_option_method.value)
    for portfolio in commodity.portfolios:
        _texts(SubElement(element, "pfLink"), pfId=str(portfolio))
    tier = SubElement(SubElement(element, "somTiers"), "tier")
    _texts(tier, tn="0")
    _texts(SubElement(tier, "rate"), r="1", val=_amount(commodity.short_option_minimum))
    _spreads(element, commodity.spreads, "F", "pLeg")


def _spreads(parent: Element, spreads: Iterable[Spread], method: str, leg_tag: str) -> None:
    for spread in spreads:
        element = SubElement(parent, "dSpread")
        _texts(element, spread=str(spread.priority), chargeMeth=method)
        rate = _amount(spread.rate) if method == "F" else _fraction(spread.rate)
        _texts(SubElement(element, "rate"), r="1", val=rate)
        for leg in spread.legs:
            period = {"pe": leg.period} if leg.period is not None else {"tn": "0"}
            leg_element = SubElement(element, leg_tag)
            _texts(leg_element, cc=leg.commodity, **period, rs=leg.side, i=_fraction(leg.deltas))


def _texts(parent: Element, **texts: str) -> None:
    for tag, text in texts.items():
        SubElement(parent, tag).text = text


def _amount(paise: int) -> str:
    return unscaled(paise, PAISE_DECIMALS)


def _fraction(millionths: int) -> str:
    return unscaled(millionths, FRACTION_DECIMALS)
