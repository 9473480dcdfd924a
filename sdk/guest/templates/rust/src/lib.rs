//! ECOD: a row's score is the sum over the features of how far out its value lies in
//! the tails of the training values (Li et al., 2022). Needs no parameters.
//!
//! The training values are the model's file train.f64: little-endian float64, column
//! after column, rows in training order.

use pynomaly_guest::{DType, Description, Detector, Matrix, Setup};

struct Ecod {
    columns: Vec<Column>,
    shared: Shared,
}

/// One feature's training values.
struct Column {
    /// In training order.
    train: Vec<f64>,
    /// The distinct ones, ascending, and a NaN.
    values: Vec<f64>,
    /// How many of `train` are less than `values[i]`; all of them at the end.
    below: Vec<u32>,
    // Moments about the mean, taken of train - shift so that little is lost to
    // rounding where the values are large and close together.
    shift: f64,
    mean: f64,
    m2: f64,
    m3: f64,
    slope: f64,
    /// Below it the skewness may be undefined.
    least_m2: f64,
}

/// What depends on the number of training rows alone.
struct Shared {
    n: usize,
    /// -ln((count + 1) / (n + 1)), by count.
    logs: Vec<f64>,
    // How much a further value adds to the moments.
    m2_share: f64,
    m3_share: f64,
    per_value: f64,
}

impl Detector for Ecod {
    fn describe() -> Description {
        Description { algorithm: "ECOD".into(), ..Description::new("ecod", "1.0.0", DType::Float64) }
    }

    fn init(setup: Setup) -> Result<Self, String> {
        let data = setup.file("train.f64").ok_or("the model has no file train.f64")?;
        let d = setup.features.len();
        if d == 0 {
            return Err("the model has no features".into());
        }
        if data.len() % (8 * d) != 0 {
            return Err(format!("train.f64 has {} bytes, not a multiple of 8 for each of {} features", data.len(), d));
        }
        let n = data.len() / (8 * d);
        if n < 2 {
            return Err(format!("train.f64 has {} rows; at least 2 are needed", n));
        }
        let train: Vec<f64> = data.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
        if let Some(i) = train.iter().position(|v| !v.is_finite()) {
            return Err(format!("train.f64: row {} of feature {} is not finite", i % n, i / n));
        }
        let shared = Shared::new(n);
        let columns = train.chunks(n).map(|column| Column::new(column, &shared)).collect();
        Ok(Ecod { columns, shared })
    }

    fn score(&mut self, rows: Matrix, out: &mut [f64]) -> Result<(), String> {
        let values = self.values(&rows)?;
        out.fill(0.0);
        for (j, column) in self.columns.iter().enumerate() {
            for (rows, out) in values.chunks(LANES * rows.cols).zip(out.chunks_mut(LANES)) {
                let mut x = [0.0; LANES];
                for (x, row) in x.iter_mut().zip(rows.chunks_exact(self.columns.len())) {
                    *x = row[j];
                }
                for (sum, term) in out.iter_mut().zip(column.terms(&x, &self.shared)) {
                    *sum += term;
                }
            }
        }
        Ok(())
    }

    fn explain(&mut self, rows: Matrix, out: &mut [f64]) -> Result<(), String> {
        let values = self.values(&rows)?;
        for (row, out) in values.chunks(rows.cols).zip(out.chunks_mut(1 + rows.cols)) {
            out[0] = 0.0; // the base value
            for (j, column) in self.columns.iter().enumerate() {
                out[1 + j] = column.terms(&[row[j]; LANES], &self.shared)[0];
            }
        }
        Ok(())
    }
}

pynomaly_guest::export!(Ecod, explain);

/// So many rows at a time: their searches do not wait for each other.
const LANES: usize = 4;

impl Ecod {
    fn values<'a>(&self, rows: &Matrix<'a>) -> Result<&'a [f64], String> {
        if rows.cols != self.columns.len() {
            return Err(format!("a row has {} values, not {}", rows.cols, self.columns.len()));
        }
        rows.float64s()
    }
}

impl Shared {
    fn new(n: usize) -> Self {
        let per_value = 1.0 / (n + 1) as f64;
        let m2_share = n as f64 * per_value;
        Shared {
            n,
            logs: (0..=n).map(|i| -((i + 1) as f64 / (n + 1) as f64).ln()).collect(),
            m2_share,
            m3_share: m2_share * (n - 1) as f64 * per_value,
            per_value,
        }
    }
}

impl Column {
    fn new(train: &[f64], shared: &Shared) -> Self {
        let mut values = train.to_vec();
        values.sort_by(f64::total_cmp);
        let shift = values[shared.n / 2];
        let mut below: Vec<u32> = (0..shared.n).filter(|&i| i == 0 || values[i] != values[i - 1]).map(|i| i as u32).collect();
        below.push(shared.n as u32);
        values.dedup();
        values.push(f64::NAN);

        let mean = train.iter().map(|v| v - shift).sum::<f64>() / shared.n as f64;
        let (mut m2, mut m3) = (0.0, 0.0);
        for v in train {
            let off = v - shift - mean;
            m2 += off * off;
            m3 += off * off * off;
        }
        let least = 1e-14 * (shift + mean);
        let (slope, least_m2) = (3.0 * m2 * shared.per_value, least * least * (shared.n + 1) as f64);
        Column { train: train.to_vec(), values, below, shift, mean, m2, m3, slope, least_m2 }
    }

    #[inline]
    fn terms(&self, x: &[f64; LANES], shared: &Shared) -> [f64; LANES] {
        let mut at = [0; LANES];
        let mut left = self.values.len() - 1;
        while left > 1 {
            let half = left / 2;
            for l in 0..LANES {
                at[l] += if self.values[at[l] + half - 1] < x[l] { half } else { 0 };
            }
            left -= half;
        }
        let mut out = [0.0; LANES];
        for l in 0..LANES {
            out[l] = self.term(x[l], at[l] + (self.values[at[l]] < x[l]) as usize, shared);
        }
        out
    }

    /// The left tail weighs where the skewness is negative, the right one where it is
    /// positive, both where it is zero; the larger of that and either tail counts. As
    /// no tail's weight is negative, only zero makes a difference.
    #[inline]
    fn term(&self, x: f64, at: usize, shared: &Shared) -> f64 {
        let left = shared.logs[self.below[at + (self.values[at] == x) as usize] as usize];
        let right = shared.logs[shared.n - self.below[at] as usize];
        if x.is_nan() {
            f64::NAN
        } else if self.symmetric(x, shared) {
            left + right
        } else if left > right {
            left
        } else {
            right
        }
    }

    #[inline]
    fn symmetric(&self, x: f64, shared: &Shared) -> bool {
        let off = x - self.shift - self.mean;
        let square = off * off;
        let m2 = self.m2 + square * shared.m2_share;
        let m3 = self.m3 + off * (square * shared.m3_share - self.slope);
        if m2 > self.least_m2 && m3.abs() > 1e-9 * m2 * (m2 * shared.per_value).sqrt() {
            return false; // not zero, whatever the rounding
        }
        self.exactly_symmetric(x)
    }

    /// Whether the skewness of the training values and x is zero or undefined, with
    /// the very roundings of NumPy and SciPy.
    #[cold]
    fn exactly_symmetric(&self, x: f64) -> bool {
        let count = (self.train.len() + 1) as f64;
        let all = || self.train.iter().chain([&x]);
        let mean = all().sum::<f64>() / count;
        let (mut m2, mut m3) = (0.0, 0.0);
        for v in all() {
            let off = v - mean;
            m2 += off * off;
            m3 += off * off * off;
        }
        let least = 1e-15 * mean;
        m2 / count <= least * least || m3 == 0.0 || m3.is_nan()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(train: &[f64]) -> Vec<u8> {
        train.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn setup(data: &[u8], columns: usize) -> Setup<'_> {
        let mut s = Setup::new(columns);
        s.files.push(("train.f64".into(), data));
        s
    }

    /// ECOD's definition for one feature, without any short cut.
    fn plain(train: &[f64], x: f64) -> f64 {
        let all: Vec<f64> = train.iter().copied().chain([x]).collect();
        let count = all.len() as f64;
        let tail = |within: &dyn Fn(f64) -> bool| -(all.iter().filter(|v| within(**v)).count() as f64 / count).ln();
        let (left, right) = (tail(&|v| v <= x), tail(&|v| v >= x));
        let mean = all.iter().sum::<f64>() / count;
        let moment = |power| all.iter().map(|v| (v - mean).powi(power)).sum::<f64>() / count;
        let undefined = moment(2) <= 1e-30 * mean * mean;
        let m3 = moment(3);
        let skewed = if undefined || m3 == 0.0 {
            left + right
        } else if m3 < 0.0 {
            left
        } else {
            right
        };
        left.max(right).max(skewed)
    }

    #[test]
    fn follows_the_definition() {
        let train = [
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], // symmetric where x is 4
            [0.1; 7],                            // no skewness where x is 0.1
            [-3.0, 0.0, 0.0, 0.5, 2.0, 90.0, 1e6],
        ];
        let values = [-1e9, -3.0, 0.0, 0.1, 0.3, 1.0, 3.5, 4.0, 7.0, 8.0, 90.0, 1e12, f64::INFINITY];
        let rows: Vec<Vec<f64>> = (0..values.len()).map(|i| (0..3).map(|j| values[(i + 5 * j) % values.len()]).collect()).collect();
        let data = bytes(&train.concat());
        let scores = pynomaly_guest::run::<Ecod>(setup(&data, 3), &rows).unwrap();
        let mut ecod = Ecod::init(setup(&data, 3)).unwrap();
        for (row, score) in rows.iter().zip(scores) {
            let want: Vec<f64> = (0..3).map(|j| plain(&train[j], row[j])).collect();
            assert!((score - want.iter().sum::<f64>()).abs() < 1e-12, "{:?}: {}, not {:?}", row, score, want);
            let mut explained = [f64::NAN; 4];
            ecod.explain(Matrix::new(row, 3), &mut explained).unwrap();
            assert_eq!(explained[0], 0.0);
            for (got, want) in explained[1..].iter().zip(want) {
                assert!((got - want).abs() < 1e-12, "{:?}: {}, not {}", row, got, want);
            }
            let mut alone = [f64::NAN];
            ecod.score(Matrix::new(row, 3), &mut alone).unwrap();
            assert_eq!(alone[0], score);
        }
    }

    #[test]
    fn a_nan_fails_its_row() {
        let data = bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let scores = pynomaly_guest::run::<Ecod>(setup(&data, 2), &[vec![1.0, 5.0], vec![f64::NAN, 5.0], vec![2.0, f64::NAN]]).unwrap();
        assert_eq!(scores.iter().map(|s| s.is_nan()).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        let data = bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, f64::NAN]);
        for (size, columns, want) in [(40, 2, "40 bytes"), (16, 2, "1 rows"), (48, 2, "row 2 of feature 1"), (48, 0, "no features")] {
            let error = Ecod::init(setup(&data[..size], columns)).err().unwrap();
            assert!(error.contains(want), "{}", error);
        }
        assert!(Ecod::init(Setup::new(2)).is_err());
        let mut ecod = Ecod::init(setup(&data[..32], 2)).unwrap();
        assert!(ecod.score(Matrix::new(&[1.0], 1), &mut [0.0]).is_err());
    }
}
