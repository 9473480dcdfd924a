"""Writes binomial.csv: scipy's upper tails of the binomial distribution, x or more of n.

usage: python3 binomial.py > binomial.csv (scipy 1.17.1)
"""
import numpy as np
from scipy.stats import binom

print("x,n,p,sf")
seen = set()
for n in (1, 2, 5, 17, 100, 999, 10**4, 123457, 10**6, 10**7, 10**8, 10**9):
    for p in (1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.3, 0.5, 0.9, 0.99, 0.999, 1 - 1e-6, 1 - 1e-9):
        sd = np.sqrt(n * p * (1 - p))
        for z in (-6, -4, -3, -2, -1.2, -0.7, -0.3, -0.1, -0.01, 0, 0.003, 0.03, 0.15, 0.5, 1, 1.5, 2, 2.5, 2.9, 3.1, 3.5, 4, 5, 6):
            x = int(round(n * p + z * sd + (z if z > 0 and sd < 1 else 0)))
            want = binom.sf(x - 1, n, p)
            if 1 <= x <= n and want > 1e-12 and (x, n, p) not in seen:
                seen.add((x, n, p))
                print(f"{x},{n},{p!r},{float(want)!r}")
