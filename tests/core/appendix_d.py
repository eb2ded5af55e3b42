"""FIX 4.4, volume 4, appendix D ("Order State Change Matrices") as data: the scenarios that this desk can live through.

A line is a request or a report:

    > New X 10000            the upstream asks; > Replace Y X 8000, > Cancel Y X, > Again X (marked as possible resend)
    > Roll                   the trade date ends
    < Y,X Trade ...          the exchange says so, and the upstream is told: ids (ClOrdID, OrigClOrdID), ExecType,
                             OrdStatus, OrderQty, CumQty, LeavesQty, LastQty
    = Y,X ...                the desk says so of its own accord
    + X ...                  follows from the line before: here every request gets a final answer of its own

What the matrices leave to the receiver of an order is as this desk does it: `PartiallyFilled~PendingReplace` reads "the
matrix says PartiallyFilled, we say PendingReplace", and the reason stands in `OURS`. Where messages cross on the line,
they are in the order in which they reach the desk.
"""

from __future__ import annotations

from typing import NamedTuple


class Scenario(NamedTuple):
    """One matrix, or one of the paths through it."""

    ref: str
    title: str
    lines: str


SCENARIOS = (
    Scenario("A.1.a", "filled order", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  2000  8000 2000
        < X   Trade         PartiallyFilled  10000  3000  7000 1000
        < X   Trade         Filled           10000 10000     0 7000
    """),
    Scenario("A.1.a, rejected", "filled order", """
        > New X 10000
        < X   Rejected      Rejected         10000     0     0    0
    """),
    Scenario("B.1.a", "cancel of a zero-filled order", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        > Cancel Y X
        < Y,X PendingCancel PendingCancel    10000     0 10000    0
        < Y,X Canceled      Canceled         10000     0     0    0
    """),
    Scenario("B.1.a, rejected at once", "cancel of a zero-filled order", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        > Cancel Y X
        < Y,X CancelReject  New              10000     0 10000    0
    """),
    Scenario("B.1.a, rejected later", "cancel of a zero-filled order", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        > Cancel Y X
        < Y,X PendingCancel PendingCancel    10000     0 10000    0
        < Y,X CancelReject  New              10000     0 10000    0
    """),
    Scenario("B.1.b", "cancel of a part-filled order, executions while it is active", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  2000  8000 2000
        < X   Trade         PartiallyFilled  10000  5000  5000 3000
        > Cancel Y X
        < Y,X PendingCancel PendingCancel    10000  5000  5000    0
        < X   Trade         PendingCancel    10000  6000  4000 1000
        < Y,X Canceled      Canceled         10000  6000     0    0
    """),
    Scenario("B.1.b, rejected", "cancel of a part-filled order, executions while it is active", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  2000  8000 2000
        < X   Trade         PartiallyFilled  10000  5000  5000 3000
        > Cancel Y X
        < Y,X PendingCancel PendingCancel    10000  5000  5000    0
        < X   Trade         PendingCancel    10000  6000  4000 1000
        < Y,X CancelReject  PartiallyFilled  10000  6000  4000    0
    """),
    Scenario("B.1.c", "cancel of an order that is filled before it can be canceled", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  2000  8000 2000
        < X   Trade         PartiallyFilled  10000  5000  5000 3000
        > Cancel Y X
        < Y,X PendingCancel PendingCancel    10000  5000  5000    0
        < X   Trade         PendingCancel    10000 10000     0 5000
        < Y,X CancelReject  Filled           10000 10000     0    0
    """),
    Scenario("B.1.d", "cancel of an order that is not acknowledged yet", """
        > New X 10000
        > Cancel Y X
        < Y,X PendingCancel PendingCancel    10000     0 10000    0
        < X   New           New~PendingCancel 10000    0 10000    0
        < Y,X Canceled      Canceled         10000     0     0    0
    """),
    Scenario("B.1.d, never acknowledged", "cancel of an order that is not acknowledged yet", """
        > New X 5000
        > Cancel Y X
        < Y,X PendingCancel PendingCancel     5000     0  5000    0
        < Y,X Canceled      Canceled          5000     0     0    0
        + X   Canceled      Canceled          5000     0     0    0
    """),
    Scenario("B.1.e", "the acknowledgement and the cancel cross", """
        > New X 10000
        > Cancel Y X
        < X   New           New~PendingCancel 10000    0 10000    0
        < Y,X PendingCancel PendingCancel    10000     0 10000    0
        < Y,X Canceled      Canceled         10000     0     0    0
    """),
    Scenario("B.1.f", "cancel of an unknown order", """
        > Cancel Y X
        = Y,X CancelReject  Rejected             0     0     0    0
    """),
    Scenario("C.1.a", "replace to increase a zero-filled order", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        > Replace Y X 11000
        < Y,X PendingReplace PendingReplace  10000     0 10000    0
        < Y,X Replaced      New              11000     0 11000    0
        < Y   Trade         PartiallyFilled  11000  1000 10000 1000
        < Y   Trade         PartiallyFilled  11000  3000  8000 2000
    """),
    Scenario("C.1.a, rejected", "replace to increase a zero-filled order", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        > Replace Y X 11000
        < Y,X PendingReplace PendingReplace  10000     0 10000    0
        < Y,X CancelReject  New              10000     0 10000    0
    """),
    Scenario("C.1.b", "replace to increase a part-filled order, execution while it is pending", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  1000  9000 1000
        > Replace Y X 12000
        < Y,X PendingReplace PendingReplace  10000  1000  9000    0
        < X   Trade         PendingReplace   10000  1100  8900  100
        < Y,X Replaced      PartiallyFilled  12000  1100 10900    0
        < Y   Trade         Filled           12000 12000     0 10900
    """),
    Scenario("C.1.b, rejected", "replace to increase a part-filled order, execution while it is pending", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  1000  9000 1000
        > Replace Y X 12000
        < Y,X PendingReplace PendingReplace  10000  1000  9000    0
        < X   Trade         PendingReplace   10000  1100  8900  100
        < Y,X CancelReject  PartiallyFilled  10000  1100  8900    0
    """),
    Scenario("C.1.c, rejected", "replace to increase a filled order", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         Filled           10000 10000     0 10000
        > Replace Y X 12000
        = Y,X CancelReject  Filled           10000 10000     0    0
    """),
    Scenario("C.1.c", "replace to increase an order that is filled while it is on its way, and opened again", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        > Replace Y X 12000
        < X   Trade         PendingReplace   10000 10000     0 10000
        < Y,X Replaced      PartiallyFilled  12000 10000  2000    0
        < Y   Trade         Filled           12000 12000     0 2000
    """),
    Scenario("C.2.a", "replace (not of the quantity) is rejected as the order is filled", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  1000  9000 1000
        < X   Trade         Filled           10000 10000     0 9000
        > Replace Y X 10000
        = Y,X CancelReject  Filled           10000 10000     0    0
    """),
    Scenario("C.3.a", "replace to decrease, above what is filled", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  1000  9000 1000
        < X   Trade         PartiallyFilled  10000  1500  8500  500
        > Replace Y X 8000
        < Y,X PendingReplace PendingReplace  10000  1500  8500    0
        < X   Trade         PendingReplace   10000  1600  8400  100
        < Y,X Replaced      PartiallyFilled   8000  1600  6400    0
        < Y   Trade         Filled            8000  8000     0 6400
    """),
    Scenario("C.3.b", "replace to decrease to what is filled", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        > Replace Y X 7000
        < X   Trade         PartiallyFilled~PendingReplace 10000 7000 3000 7000
        < Y,X Replaced      Filled            7000  7000     0    0
    """),
    Scenario("C.3.c", "replace to decrease below what is filled: it becomes what is filled", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        > Replace Y X 7000
        < X   Trade         PartiallyFilled~PendingReplace 10000 8000 2000 8000
        < Y,X Replaced      Filled            8000  8000     0    0
    """),
    Scenario("D.1.a", "a replace is accepted, another one as well", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  1000  9000 1000
        > Replace Y X 8000
        < Y,X PendingReplace PendingReplace  10000  1000  9000    0
        < X   Trade         PendingReplace   10000  1500  8500  500
        < Y,X Replaced      PartiallyFilled   8000  1500  6500    0
        < Y   Trade         PartiallyFilled   8000  3500  4500 2000
        > Replace Z Y 6000
        < Z,Y PendingReplace PendingReplace   8000  3500  4500    0
        < Y   Trade         PendingReplace    8000  4000  4000  500
        < Z,Y Replaced      PartiallyFilled   6000  4000  2000    0
        < Z   Trade         Filled            6000  6000     0 2000
    """),
    Scenario("D.1.b", "a replace is rejected before it is pending, another one accepted", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  1000  9000 1000
        > Replace Y X 8000
        < Y,X CancelReject  PartiallyFilled  10000  1000  9000    0
        < X   Trade         PartiallyFilled  10000  1500  8500  500
        < X   Trade         PartiallyFilled  10000  3500  6500 2000
        > Replace Z X 6000
        < Z,X PendingReplace PendingReplace  10000  3500  6500    0
        < Z,X Replaced      PartiallyFilled   6000  3500  2500    0
        < Z   Trade         PartiallyFilled   6000  5000  1000 1500
    """),
    Scenario("D.1.c", "a replace is rejected after it was pending, another one accepted", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  1000  9000 1000
        > Replace Y X 8000
        < Y,X PendingReplace PendingReplace  10000  1000  9000    0
        < X   Trade         PendingReplace   10000  1500  8500  500
        < Y,X CancelReject  PartiallyFilled  10000  1500  8500    0
        < X   Trade         PartiallyFilled  10000  3500  6500 2000
        > Replace Z X 6000
        < Z,X PendingReplace PendingReplace  10000  3500  6500    0
        < Z,X Replaced      PartiallyFilled   6000  3500  2500    0
        < Z   Trade         PartiallyFilled   6000  5000  1000 1500
    """),
    Scenario("D.2.a", "two replaces at once, processed one after the other", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  1000  9000 1000
        > Replace Y X 8000
        > Replace Z Y 7000
        < Y,X PendingReplace PendingReplace  10000  1000  9000    0
        < Y,X Replaced      PartiallyFilled~PendingReplace 8000 1000 7000 0
        < Z,Y PendingReplace PendingReplace   8000  1000  7000    0
        < Z,Y Replaced      PartiallyFilled   7000  1000  6000    0
        < Z   Trade         Filled            7000  7000     0 6000
    """),
    Scenario("D.2.c", "two replaces at once, both rejected", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  1000  9000 1000
        > Replace Y X 8000
        > Replace Z Y 7000
        < Y,X PendingReplace PendingReplace  10000  1000  9000    0
        < Y,X CancelReject  PartiallyFilled~PendingReplace 10000 1000 9000 0
        < Z,X PendingReplace PendingReplace  10000  1000  9000    0
        < Z,X CancelReject  PartiallyFilled  10000  1000  9000    0
        < X   Trade         PartiallyFilled  10000  7000  3000 6000
    """),
    Scenario("E.1.b", "unsolicited cancel of a part-filled order", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  1000  9000 1000
        < X   Canceled      Canceled         10000  1000     0    0
    """),
    Scenario("E.1.c", "unsolicited replacement of a part-filled order", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Restated      New              11000     0 11000    0
        < X   Trade         PartiallyFilled  11000  1000 10000 1000
        < X   Restated      PartiallyFilled  12000  1000 11000    0
    """),
    Scenario("E.1.d", "unsolicited reduction of the quantity", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Restated      New               9000     0  9000    0
        < X   Trade         Filled            9000  9000     0 9000
    """),
    Scenario("E.1.e", "unsolicited cancel of an order that is not the best", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        < X   Canceled      Canceled         10000     0     0    0
    """),
    Scenario("F.1.b", "possible resend", """
        > New X 10000
        < X   New           New              10000     0 10000    0
        > Again X
        = X   OrderStatus   New              10000     0 10000    0
    """),
    Scenario("G.1.c", "the state is asked for during the life of an order", """
        > New X 10000
        > Again X
        = X   OrderStatus   PendingNew       10000     0 10000    0
        < X   New           New              10000     0 10000    0
        > Again X
        = X   OrderStatus   New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  2000  8000 2000
        > Again X
        = X   OrderStatus   PartiallyFilled  10000  2000  8000    0
        < X   Trade         Filled           10000 10000     0 8000
        > Again X
        = X   OrderStatus   Filled           10000 10000     0    0
    """),
    Scenario("H.1.a", "GTC order part-filled, restated, part-filled the next day", """
        > New X 10000 GTC
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  2000  8000 2000
        > Roll
        = X   Restated      PartiallyFilled  10000  2000  8000    0
        < X   Trade         PartiallyFilled  10000  3000  7000 1000
    """),
    Scenario("H.1.c", "GTC order part-filled, restated, canceled the next day", """
        > New X 10000 GTC
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  2000  8000 2000
        > Roll
        = X   Restated      PartiallyFilled  10000  2000  8000    0
        > Cancel Y X
        < Y,X PendingCancel PendingCancel    10000  2000  8000    0
        < Y,X Canceled      Canceled         10000  2000     0    0
    """),
    Scenario("H.1.d", "GTC order part-filled, restated, increased the next day", """
        > New X 10000 GTC
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  2000  8000 2000
        > Roll
        = X   Restated      PartiallyFilled  10000  2000  8000    0
        > Replace Y X 15000
        < Y,X PendingReplace PendingReplace  10000  2000  8000    0
        < X   Trade         PendingReplace   10000  3000  7000 1000
        < Y,X Replaced      PartiallyFilled  15000  3000 12000    0
    """),
    Scenario("I.1.a", "FOK order that cannot be filled", """
        > New X 10000 FOK
        < X   New           New              10000     0 10000    0
        < X   Canceled      Canceled         10000     0     0    0
    """),
    Scenario("I.1.b", "IOC order that cannot be filled whole", """
        > New X 10000 IOC
        < X   New           New              10000     0 10000    0
        < X   Trade         PartiallyFilled  10000  1000  9000 1000
        < X   Canceled      Canceled         10000  1000     0    0
    """),
)  # fmt: skip

OURS = (
    "A request is accepted the moment it comes, so it is pending from then on, as in D.2.b: also while the exchange "
    "works on the one before (D.2.a, D.2.c), and in reports that cross it (B.1.d, B.1.e, C.3.b, C.3.c)."
)

LEFT_OUT = {
    "A.1.b, H.1.b, J.1.d": "Done for Day: an exchange that ends an order for the day says EXPIRED here",
    "D.2.b": "the desk has one replace at the exchange at a time, the next goes out when the first is answered",
    "D.2.d": "the desk does not reject the second replace, it keeps it (D.2.a)",
    "E.1.a, F.1.c": "orders by telephone",
    "E.1.f": "Triggered: an exchange acknowledges a stop order once",
    "F.1.a": "a duplicate is refused by intake, before an order's state is known: tests/intake",
    "G.1.a, G.1.b": "status requests: a possible resend of an unknown id is a new order (F.1.b)",
    "J": "busts and corrections of executions",
    "K": "Suspended: a halt is the exchange's reject (HALTED)",
    "L": "Stopped and CashOrderQty",
}
