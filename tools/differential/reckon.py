"""Computes the answer from a raw score, in exact arithmetic where it can."""
import fractions
import math


RELATIVE = 1e-9  # tolerance for predictions and confidences, whose formulas are not exact in floats


class Judge:
    """Turns a detector's scores into answers by the manifest's rules."""

    def __init__(self, manifest, scores):
        self.higher_is_normal = manifest.get("output", {}).get("orientation") == "higher_is_normal"
        self.threshold = manifest.get("threshold")
        self.calibration = manifest.get("calibration")
        self.confidence = manifest.get("confidence")
        self.scores = scores
        self.known = {}
        if self.calibration and scores:
            exact = [fractions.Fraction(s) for s in scores]
            self.mean = sum(exact) / len(exact)
            variance = sum((s - self.mean) ** 2 for s in exact) / len(exact)
            # Compute the root of a fraction to more digits than a float has.
            self.std = fractions.Fraction(math.isqrt(variance.numerator * variance.denominator << 400), variance.denominator << 200)
            self.low, self.high = exact[0], exact[-1]
        if self.calibration:
            for key, name in (("min", "low"), ("max", "high"), ("mean", "mean"), ("std", "std")):
                if key in self.calibration:
                    setattr(self, name, fractions.Fraction(self.calibration[key]))

    def oriented(self, raw):
        return 0 - raw if self.higher_is_normal else raw

    def at_most(self, score):
        return sum(s <= score for s in self.scores)

    def prediction(self, score):
        method = (self.calibration or {}).get("method")
        if method is None:
            return score
        if method == "ecdf":
            return self.at_most(score) / len(self.scores)
        if method == "ecdf_midrank":
            return float(sum(fractions.Fraction(1) if s < score else fractions.Fraction(1, 2) if s == score else 0 for s in self.scores) / len(self.scores))
        if method == "linear":
            share = (fractions.Fraction(score) - self.low) / (self.high - self.low)
        else:
            z = (fractions.Fraction(score) - self.mean) / self.std
            share = math.erf(float(max(min(z, 40), -40)) / math.sqrt(2))
        return float(max(min(share, 1), 0))

    def apart(self):
        """Returns how far a prediction may be off: more than usual if floats hardly distinguish the scores."""
        if (self.calibration or {}).get("method") != "unify":
            return RELATIVE
        largest = max(abs(fractions.Fraction(s)) for s in self.scores or [self.calibration["mean"]])
        return max(RELATIVE, float(min(largest / self.std, 10**13)) * 1e-13)

    def anomaly(self, score):
        return None if self.threshold is None else score > self.threshold

    def confident(self, score):
        """Returns ExCeeD's confidence: the exact probability that at most m - 1 of n trials fail, as a sum."""
        if not self.confidence:
            return None
        n, count = len(self.scores), self.at_most(score)
        if count not in self.known:
            few = int(n * self.confidence["contamination"])
            hit, miss = 1 + count, 1 + n - count
            more = sum(math.comb(n, k) * hit**k * miss ** (n - k) for k in range(n - few + 1, n + 1))
            self.known[count] = float(fractions.Fraction(more, (2 + n) ** n))
        share = self.known[count]
        return share if self.anomaly(score) else 1 - share
