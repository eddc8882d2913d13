"""`hundi codes`: every reject code as a page for client programmers, written from the enum and its maps.

docs/reject-codes.md is this output; a test holds it current.
"""

from domain.rejects import (
    FIX_CXL_REJ_REASON,
    FIX_ORD_REJ_REASON,
    HTTP_STATUS,
    RETRYABLE,
    SENTENCES,
    RejectCode,
)

_HEAD = """\
# Reject codes

Why an order, a change or a cancel is refused, in order of precedence: the first that applies is the order's
`reject_code`, and leads the problem document. Codes are stable. *Retry*: the same request may succeed later
without a change. The FIX reasons are the exchange's: OrdRejReason (103), and CxlRejReason (102) of a cancel
or change.

| code | HTTP | retry | FIX | sentence |
|---|---|---|---|---|
"""


def main() -> None:
    """Print the page."""
    print(page(), end="")


def page() -> str:
    return _HEAD + "".join(f"{_row(code)}\n" for code in RejectCode)


def _row(code: RejectCode) -> str:
    reasons = [f"103={reason}" for reason, its in FIX_ORD_REJ_REASON.items() if its is code]
    reasons += [f"102={reason}" for reason, its in FIX_CXL_REJ_REASON.items() if its is code]
    retry = "yes" if code in RETRYABLE else ""
    return f"| `{code}` | {HTTP_STATUS[code].value} | {retry} | {', '.join(reasons)} | {SENTENCES[code]} |"


if __name__ == "__main__":
    main()
