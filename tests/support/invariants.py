"""What must hold of a market at rest, reckoned from outside; each rule tells what breaks it, in a sentence.

Client records, SQL and the exchange's files are held against each other; no counter of ours is believed. At
rest means: no process is missing and nothing is under way, so each order is final or stands in the book.
tests/crash/test_invariants.py plants faults to prove that each rule can fail.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import date

from domain.orders import KEEPS_STATUS, IllegalTransition, OrderEvent, OrderStatus, Side, next_status
from domain.portfolio_margin import MarginedPosition, WorkingOrder, portfolio_margin
from domain.span import contract_key
from domain.time import trade_date
from exchange.files.master import read_master
from storage.audit import AuditEntry, update_body
from tests.support import frames
from tests.support.evidence import Evidence, Row

Rule = Callable[[Evidence], Iterator[str]]
_STEPS = frozenset(OrderEvent) - KEEPS_STATUS


def broken(evidence: Evidence) -> list[str]:
    """Everything that does not hold, `I4: ...`; empty is what a test asserts."""
    return [f"{name}: {fault}" for name, rule in RULES.items() for fault in rule(evidence)]


def _every_acknowledgement_stands(e: Evidence) -> Iterator[str]:
    stored = {str(row["order_id"]) for row in e.orders} & {str(row["order_id"]) for row in e.intake}
    for request in e.requests:
        for order_id in set(request.acknowledged) - stored:
            yield f"{request.client_id} was told of order {order_id} and it is not there"


def _one_order_a_key(e: Evidence) -> Iterator[str]:
    by_key = Counter((row["user_id"], row["idempotency_key"]) for row in e.orders)
    yield from (f"{n} orders of user {user} have key {key}" for (user, key), n in by_key.items() if n > 1)
    for request in e.requests:
        if len(set(request.acknowledged)) > 1:
            yield f"one key of {request.client_id} was answered with orders {request.acknowledged}"
    promised = {(row["user_id"], row["key"]): row["order_id"] for row in e.keys}
    for row in e.orders:
        if row["parent_id"] is not None:  # A slice: the client's key is its parent's.
            if row["parent_id"] not in promised.values():
                yield f"slice {row['order_id']} is of no order"
        elif promised.get((row["user_id"], row["idempotency_key"])) != row["order_id"]:
            yield f"order {row['order_id']} is not the order of its key"


def _one_order_at_the_exchange(e: Evidence) -> Iterator[str]:
    entered = Counter(cl_ord_id for column in e.entered.values() for cl_ord_id in column)
    for row in e.orders:
        times = entered[str(row["order_id"])]
        # Our own refusals have no exchange order id; neither has what was withdrawn before it left.
        expected = 0 if _never_left(row) else 1
        if times != expected:
            yield f"order {row['order_id']} ({row['status']}) entered the exchange {times} times"


def _money_is_conserved(e: Evidence) -> Iterator[str]:
    movements: Counter[str] = Counter()
    accounts: Counter[str] = Counter()
    rolled: Counter[str] = Counter()
    for posting in e.postings:
        movements[posting["movement"]] += posting["amount"]
        accounts[posting["account"]] += posting["amount"]
        if posting["movement"].startswith("realized:"):
            rolled[posting["account"]] += posting["amount"]
    yield from (f"movement {name} sums to {amount}" for name, amount in movements.items() if amount)
    for ledger in e.ledgers:
        user = ledger["user_id"]
        own = [trade for trade in _of(user, e.trades) if trade["undone_by"] is None]
        paid = _bound_by_deliveries([t for t in own if t["product"] == "CNC"])
        pledged = sum(position["margin"] for position in _of(user, e.positions))
        profit = sum(t["realized_pnl"] for t in own if t["product"] != "CNC")
        owed = sum(_value(row) * Side(row["side"].upper()).sign for row in _filed(e, user))
        for what, ledgers, reckoned in (
            ("cash", ledger["cash"], accounts[f"cash:{user}"]),
            ("used margin", ledger["used_margin"] - ledger["portfolio_used"], paid + pledged),
            ("realised profit", ledger["realized_pnl"], profit - rolled[f"cash:{user}"]),
            ("unsettled", accounts[f"unsettled:{user}"], -owed - rolled[f"cash:{user}"]),
        ):
            if ledgers != reckoned:
                yield f"{what} of user {user} is {ledgers} and comes to {reckoned}"


def _bound_by_deliveries(trades: list[Row]) -> int:
    """What was bought, less what was bought and sold on the same day, the average of what is left of it."""
    bought: dict[tuple[str, date], tuple[int, int]] = {}
    bound = 0
    for trade in sorted(trades, key=lambda trade: trade["place"]):
        key = trade["instrument_id"], trade_date(trade["traded_at_ns"])
        quantity, margin = bought.get(key, (0, 0))
        if trade["transaction_type"] == "BUY":
            bought[key] = quantity + trade["quantity"], margin + _value(trade)
            bound += _value(trade)
        elif sold := min(quantity, trade["quantity"]):
            part = margin * sold // quantity
            bought[key] = quantity - sold, margin - part
            bound -= min(part, sold * trade["price"])
    return bound


def _nobody_overspends(e: Evidence) -> Iterator[str]:
    for ledger in e.ledgers:
        loss = min(ledger["realized_pnl"], 0)
        left = ledger["cash"] + loss - ledger["blocked_margin"] - ledger["used_margin"]
        if left < 0 or left != ledger["available_cash"]:
            yield f"user {ledger['user_id']} has {left} available, the ledger says {ledger['available_cash']}"


def _blocked_is_what_open_orders_hold(e: Evidence) -> Iterator[str]:
    orders = {row["order_id"]: row for row in e.orders}
    held: Counter[int] = Counter()
    shares: Counter[tuple[int, str]] = Counter()
    for hold in e.holds:
        order, left = orders[hold["order_id"]], hold["open_quantity"] + hold["close_quantity"]
        held[hold["user_id"]] += hold["open_quantity"] * hold["unit_margin"]
        if hold["product"] == "CNC" and hold["transaction_type"] == "SELL":
            shares[hold["user_id"], hold["instrument_id"]] += left
        final = OrderStatus(order["status"]).is_final
        traded = order["filled_quantity"] + order["taken_back_quantity"]
        expected = 0 if final else order["quantity"] - traded
        if left != expected:
            yield f"order {hold['order_id']} ({order['status']}) holds {left} shares' margin, not {expected}"
    without = orders.keys() - {hold["order_id"] for hold in e.holds}
    for order_id in without:
        if not OrderStatus(orders[order_id]["status"]).is_final:
            yield f"order {order_id} ({orders[order_id]['status']}) stands without a hold"
    for ledger in e.ledgers:
        blocked = ledger["blocked_margin"] - ledger["portfolio_blocked"]
        if blocked != held[ledger["user_id"]]:
            told = f"{blocked} blocked, its holds {held[ledger['user_id']]}"
            yield f"user {ledger['user_id']} has {told}"
    for holding in e.holdings:
        promised = shares[holding["user_id"], holding["instrument_id"]]
        if holding["blocked_quantity"] != promised:
            told = f"{holding['blocked_quantity']} {holding['instrument_id']} promised, its orders {promised}"
            yield f"user {holding['user_id']} has {told}"


def _derivatives_have_the_margin_that_they_need(e: Evidence) -> Iterator[str]:
    """Each product's portfolio by itself: what is held, and on top the worst that orders can make of it."""
    contracts = {f"NSE:{symbol}": contract_key(row) for symbol, row in read_master("NSE").items()}
    for ledger in e.ledgers:
        used = total = 0
        for product in ("MIS", "NRML"):
            held = [
                MarginedPosition(contract, row["buy_quantity"] - row["sell_quantity"])
                for row in _of(ledger["user_id"], e.positions)
                if row["product"] == product and (contract := contracts.get(row["instrument_id"]))
            ]
            orders = [
                WorkingOrder(contract, Side(row["transaction_type"]), left, 0)
                for row in _of(ledger["user_id"], e.holds)
                if row["product"] == product and (contract := contracts.get(row["instrument_id"]))
                if (left := row["open_quantity"] + row["close_quantity"])
            ]
            if held or orders:
                assert e.risk is not None, "derivatives, and no risk file"
                now, worst = (portfolio_margin(held, e.risk, some) for some in ((), orders))
                assert now is not None and worst is not None
                used, total = used + now.span + now.exposure, total + worst.span + worst.exposure
        has = ledger["portfolio_used"], ledger["portfolio_blocked"]
        if has != (used, total - used):
            yield f"derivatives of user {ledger['user_id']} bind {has} and need {(used, total - used)}"


def _statuses_move_along_their_edges(e: Evidence) -> Iterator[str]:
    reached: dict[int, OrderStatus] = {}
    for record in e.records:
        order_id, event = record["order_id"], record["event"]
        if event == OrderEvent.ACCEPTED:
            reached[order_id] = OrderStatus.PENDING_VALIDATION
        elif event in _STEPS and not record["detail"].get("repeated"):
            # (A send whose outcome was unknown is repeated, perhaps after its report: it moves nothing.)
            try:
                reached[order_id] = next_status(reached[order_id], OrderEvent(event))
            except (IllegalTransition, KeyError) as illegal:
                yield f"order {order_id}: {illegal}"
        if record["status"] != reached.get(order_id):
            yield f"order {order_id} was told to be {record['status']} after {event}"
    for row in e.orders:
        if row["status"] != reached.get(row["order_id"]):
            told = reached.get(row["order_id"])
            yield f"order {row['order_id']} is {row['status']} and its record ends at {told}"


def _fills_are_the_exchanges(e: Evidence) -> Iterator[str]:
    # The file takes a trade back by a row of its own, with the quantity negated.
    undone = [t | {"exec_id": t["undone_by"], "quantity": -t["quantity"]} for t in e.trades if t["undone_by"]]
    filed, booked = _by_order(e.file, "cl_ord_id"), _by_order(e.trades + undone, "order_id")
    for row in e.orders:
        order_id = str(row["order_id"])
        if filed[order_id] != booked[order_id]:
            told = f"{sorted(filed[order_id])}, booked {sorted(booked[order_id])}"
            yield f"order {order_id} traded {told}"
        quantity = sum(quantity for _, _, quantity, _ in filed[order_id].elements())
        value = sum(quantity * price for _, _, quantity, price in filed[order_id].elements())
        if (row["filled_quantity"], row["filled_value"]) != (quantity, value) or quantity > row["quantity"]:
            told = f"{row['filled_quantity']} of {row['quantity']} for {row['filled_value']}"
            yield f"order {order_id} is filled {told}, the exchange says {quantity} for {value}"


def _first_come_first_sent(e: Evidence) -> Iterator[str]:
    places = {str(row["order_id"]): (row["user_id"], row["seq"]) for row in e.intake}
    for exchange, entered in e.entered.items():
        last: dict[int, int] = defaultdict(int)
        for user, seq in (places[order_id] for order_id in entered if order_id in places):
            if seq < last[user]:
                yield f"place {seq} of user {user} came to {exchange} after place {last[user]}"
            last[user] = max(last[user], seq)


def _the_record_has_no_gap(e: Evidence) -> Iterator[str]:
    numbers = defaultdict(list)
    for record in e.records:
        numbers[record["user_id"]].append(record["user_seq"])
    for user, own in numbers.items():
        if own != list(range(1, len(own) + 1)):
            yield f"the updates of user {user} are numbered {own}"


def _the_record_is_of_frames(e: Evidence) -> Iterator[str]:
    for r in e.records:
        entry = AuditEntry(
            occurred_at_ns=r["occurred_at_ns"],
            user_id=r["user_id"],
            event=OrderEvent(r["event"]),
            actor=r["actor"],
            order_id=r["order_id"],
            status=r["status"],
            detail=r["detail"],
            traceparent=r["traceparent"],
        )
        if (misfit := frames.fault("order_update", update_body(entry, r["user_seq"]))) is not None:
            yield misfit


def _redis_agrees(e: Evidence) -> Iterator[str]:
    for ledger in e.ledgers:
        view = e.views.get(ledger["user_id"]) or {"generation": -1}
        if view["generation"] != ledger["generation"]:
            continue  # Another generation's view is rebuilt before its next answer.
        portfolio = (("portfolio_blocked",) * 2, ("portfolio_used",) * 2)
        for ours, theirs in (("blocked", "blocked_margin"), ("used", "used_margin"), *portfolio):
            if view[ours] != ledger[theirs]:
                told = f"{view[ours]} {ours} in Redis, {ledger[theirs]} in the ledger"
                yield f"user {ledger['user_id']} has {told}"


def _everything_is_at_rest(e: Evidence) -> Iterator[str]:
    for row in e.orders:
        if row["status"] in (OrderStatus.PENDING_VALIDATION, OrderStatus.PENDING_OPEN):
            yield f"order {row['order_id']} is still {row['status']}"


RULES: dict[str, Rule] = {
    "I1": _every_acknowledgement_stands,
    "I2": _one_order_a_key,
    "I3": _one_order_at_the_exchange,
    "I4": _money_is_conserved,
    "I5": _nobody_overspends,
    "I6": _blocked_is_what_open_orders_hold,
    "I6 of derivatives": _derivatives_have_the_margin_that_they_need,
    "I7": _statuses_move_along_their_edges,
    "I8": _fills_are_the_exchanges,
    "I9": _first_come_first_sent,
    "I11": _the_record_has_no_gap,
    "frames": _the_record_is_of_frames,
    "I12": _redis_agrees,
    "I14": _everything_is_at_rest,
}
"""By the number of the invariant."""


def _never_left(order: Row) -> bool:
    if (order["reject_code"] or "").startswith("EXCHANGE_"):
        return False
    return order["exchange_order_id"] is None and OrderStatus(order["status"]).is_final


def _of(user: int, rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["user_id"] == user]


def _filed(e: Evidence, user: int) -> list[Row]:
    own = {str(row["order_id"]) for row in _of(user, e.orders)}
    return [row for row in e.file if row["cl_ord_id"] in own]


def _value(trade: Row) -> int:
    value: int = trade["quantity"] * trade["price"]
    return value


def _by_order(trades: list[Row], column: str) -> defaultdict[str, Counter[tuple[str, str, int, int]]]:
    found: defaultdict[str, Counter[tuple[str, str, int, int]]] = defaultdict(Counter)
    for row in trades:
        found[str(row[column])][row["exchange"], row["exec_id"], row["quantity"], row["price"]] += 1
    return found
