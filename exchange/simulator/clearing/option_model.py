"""What an option is worth when price, volatility or time move: Black's model of 1976 on the forward price.

Rupees, years and fractions as floats: a model's estimate, made exact only when the risk arrays are written
(exchange/simulator/clearing/risk_arrays.py). Invariants: never below nothing nor below its discounted
intrinsic value.
"""

from dataclasses import dataclass, replace
from math import erf, exp, inf, log, sqrt

VOLATILITY_MIN, VOLATILITY_MAX = 0.01, 5.0
_BISECTIONS = 60


@dataclass(frozen=True, slots=True)
class European:
    """An option on a forward. `forward` and `strike` in rupees, `years` to expiry, `interest` a year."""

    is_call: bool
    forward: float
    strike: float
    years: float
    volatility: float
    interest: float

    def value(self) -> float:
        received = self.forward * self._likely(self._d1)
        paid = self.strike * self._likely(self._d2)
        return max(0.0, exp(-self.interest * self.years) * self._sign * (received - paid))

    def delta(self) -> float:
        return self._sign * exp(-self.interest * self.years) * self._likely(self._d1)

    def moved(self, price: float = 0.0, volatility: float = 0.0, years: float = 0.0) -> "European":
        """The same option after the market has moved and time has passed."""
        return replace(
            self,
            forward=max(0.0, self.forward + price),
            volatility=max(VOLATILITY_MIN, self.volatility + volatility),
            years=max(0.0, self.years - years),
        )

    def implied(self, price: float) -> "European":
        """The option with the volatility that its price implies, within the model's bounds."""
        low, high = VOLATILITY_MIN, VOLATILITY_MAX
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if replace(self, volatility=middle).value() < price else (low, middle)
        return replace(self, volatility=(low + high) / 2)

    @property
    def _sign(self) -> int:
        return 1 if self.is_call else -1

    @property
    def _d1(self) -> float:
        deviation = self.volatility * sqrt(self.years)
        if self.forward == 0.0 or deviation == 0.0:
            return inf if self.forward > self.strike else -inf
        return log(self.forward / self.strike) / deviation + deviation / 2

    @property
    def _d2(self) -> float:
        return self._d1 - self.volatility * sqrt(self.years)

    def _likely(self, deviations: float) -> float:
        """The normal distribution up to `deviations`, from the option's own side."""
        return (1 + erf(self._sign * deviations / sqrt(2))) / 2
