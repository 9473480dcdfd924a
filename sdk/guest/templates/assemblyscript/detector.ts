// ECOD: a row's score is the sum over the features of how far out its value lies in
// the tails of the training values (Li et al., 2022). Needs no parameters.
//
// The training values are the model's file train.f64: little-endian float64, column
// after column, rows in training order.

import { Description, Detector, Matrix, Output, Setup, fail, register } from "./pynomaly/pynomaly";
export * from "./pynomaly/exports";
export * from "./pynomaly/explain";

/** What depends on the number of training rows alone. */
class Shared {
  /** -ln((count + 1) / (n + 1)), by count. */
  logs: StaticArray<f64>;
  // How much a further value adds to the moments.
  m2Share: f64;
  m3Share: f64;
  perValue: f64;

  constructor(public n: i32) {
    this.logs = new StaticArray<f64>(n + 1);
    for (let i = 0; i <= n; i++) this.logs[i] = -Math.log(<f64>(i + 1) / <f64>(n + 1));
    this.perValue = 1 / <f64>(n + 1);
    this.m2Share = <f64>n * this.perValue;
    this.m3Share = this.m2Share * <f64>(n - 1) * this.perValue;
  }
}

/** One feature's training values. */
class Column {
  /** The distinct ones, ascending, and a NaN. */
  values: StaticArray<f64>;
  /** How many of train are less than values[i]; all of them at the end. */
  below: StaticArray<i32>;
  distinct: i32 = 0;
  // Moments about the mean, taken of train - shift so that little is lost to
  // rounding where the values are large and close together.
  shift: f64;
  mean: f64;
  m2: f64 = 0;
  m3: f64 = 0;
  slope: f64;
  /** Below it the skewness may be undefined. */
  leastM2: f64;

  /** train is in training order. */
  constructor(public train: StaticArray<f64>, public shared: Shared) {
    const n = shared.n;
    const sorted = train.slice<StaticArray<f64>>().sort();
    this.shift = sorted[n / 2];
    this.values = new StaticArray<f64>(n + 1);
    this.below = new StaticArray<i32>(n + 1);
    for (let i = 0; i < n; i++) {
      if (i > 0 && sorted[i] == sorted[i - 1]) continue;
      this.below[this.distinct] = i;
      this.values[this.distinct++] = sorted[i];
    }
    this.below[this.distinct] = n;
    this.values[this.distinct] = NaN;

    let sum: f64 = 0;
    for (let i = 0; i < n; i++) sum += train[i] - this.shift;
    this.mean = sum / <f64>n;
    for (let i = 0; i < n; i++) {
      const off = train[i] - this.shift - this.mean;
      this.m2 += off * off;
      this.m3 += off * off * off;
    }
    this.slope = 3 * this.m2 * shared.perValue;
    const least = 1e-14 * (this.shift + this.mean);
    this.leastM2 = least * least * <f64>(n + 1);
  }

  /** The number of distinct values below x; the turns of the loop depend on no value. */
  // @ts-ignore: decorator
  @inline
  position(x: f64): i32 {
    const values = this.values;
    let at = 0;
    let left = this.distinct;
    while (left > 1) {
      const half = left >> 1;
      at = select(at + half, at, unchecked(values[at + half - 1]) < x);
      left -= half;
    }
    return at + i32(unchecked(values[at]) < x);
  }

  /**
   * The left tail weighs where the skewness is negative, the right one where it is
   * positive, both where it is zero; the larger of that and either tail counts. As no
   * tail's weight is negative, only zero makes a difference.
   */
  // @ts-ignore: decorator
  @inline
  term(x: f64): f64 {
    const shared = this.shared;
    const at = this.position(x);
    const below = unchecked(this.below[at]);
    const upTo = unchecked(this.below[at + i32(unchecked(this.values[at]) == x)]);
    const left = unchecked(shared.logs[upTo]);
    const right = unchecked(shared.logs[shared.n - below]);
    if (x != x) return NaN;
    return this.symmetric(x) ? left + right : max(left, right);
  }

  // @ts-ignore: decorator
  @inline
  private symmetric(x: f64): bool {
    const off = x - this.shift - this.mean;
    const square = off * off;
    const m2 = this.m2 + square * this.shared.m2Share;
    const m3 = this.m3 + off * (square * this.shared.m3Share - this.slope);
    if (m2 > this.leastM2 && abs(m3) > 1e-9 * m2 * sqrt(m2 * this.shared.perValue)) return false; // not zero, whatever the rounding
    return this.exactlySymmetric(x);
  }

  /**
   * Whether the skewness of the training values and x is zero or undefined, with the
   * very roundings of NumPy and SciPy.
   */
  private exactlySymmetric(x: f64): bool {
    const train = this.train;
    const n = this.shared.n;
    const count = <f64>(n + 1);
    let mean: f64 = 0;
    for (let i = 0; i < n; i++) mean += unchecked(train[i]);
    mean = (mean + x) / count;
    let m2: f64 = 0;
    let m3: f64 = 0;
    for (let i = 0; i <= n; i++) {
      const off = (i < n ? unchecked(train[i]) : x) - mean;
      m2 += off * off;
      m3 += off * off * off;
    }
    const least = 1e-15 * mean;
    return m2 / count <= least * least || !(m3 < 0 || m3 > 0);
  }
}

class Ecod extends Detector {
  private columns: Column[] = [];

  describe(): Description {
    const d = new Description("ecod", "1.0.0", "float64");
    d.algorithm = "ECOD";
    return d;
  }

  init(setup: Setup): bool {
    const file = setup.file("train.f64");
    const d = setup.features.length;
    if (!file) return fail("the model has no file train.f64");
    if (d == 0) return fail("the model has no features");
    if (file.size % (8 * d) != 0) {
      return fail("train.f64 has " + file.size.toString() + " bytes, not a multiple of 8 for each of " + d.toString() + " features");
    }
    const n = file.size / (8 * d);
    if (n < 2) return fail("train.f64 has " + n.toString() + " rows; at least 2 are needed");
    const shared = new Shared(n);
    for (let j = 0; j < d; j++) {
      const train = new StaticArray<f64>(n);
      for (let i = 0; i < n; i++) {
        train[i] = file.float64(j * n + i);
        if (!isFinite(train[i])) return fail("train.f64: row " + i.toString() + " of feature " + j.toString() + " is not finite");
      }
      this.columns.push(new Column(train, shared));
    }
    return true;
  }

  score(rows: Matrix, out: Output): bool {
    const d = this.columns.length;
    if (rows.cols != d) return this.refuse(rows.cols);
    for (let i = 0; i < rows.rows; i++) out.set(i, 0);
    for (let j = 0; j < d; j++) {
      const column = this.columns[j];
      for (let i = 0; i < rows.rows; i++) out.set(i, out.get(i) + column.term(rows.float64(i * d + j)));
    }
    return true;
  }

  explain(rows: Matrix, out: Output): bool {
    const d = this.columns.length;
    if (rows.cols != d) return this.refuse(rows.cols);
    for (let i = 0; i < rows.rows; i++) {
      out.set(i * (1 + d), 0); // the base value
      for (let j = 0; j < d; j++) out.set(i * (1 + d) + 1 + j, this.columns[j].term(rows.float64(i * d + j)));
    }
    return true;
  }

  private refuse(cols: i32): bool {
    return fail("a row has " + cols.toString() + " values, not " + this.columns.length.toString());
  }
}

register(new Ecod());
