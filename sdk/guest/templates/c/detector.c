/*
 * ECOD: a row's score is the sum over the features of how far out its value lies
 * in the tails of the training values (Li et al., 2022). Needs no parameters.
 *
 * The training values are the model's file train.f64: little-endian float64,
 * column after column, rows in training order.
 */
#define PYNOMALY_EXPLAIN
#include "pynomaly/pynomaly.h"

#include <math.h>

/* One feature's training values. */
struct column {
	const double *train; /* in training order */
	double *values;      /* the distinct ones, ascending, and a NaN */
	uint32_t *below;     /* how many of train are less than values[i]; all of them at the end */
	size_t distinct;
	/* Moments about the mean, taken of train - shift so that little is lost to
	   rounding where the values are large and close together. */
	double shift, mean, m2, m3, slope;
	double least_m2; /* below it the skewness may be undefined */
};

static struct column *columns;
static double *logs; /* -ln((count + 1) / (n + 1)), by count */
static size_t n, d;
/* How much a further value adds to the moments. */
static double m2_share, m3_share, per_value;

static const char *describe(void) {
	return "{\"name\":\"ecod\",\"version\":\"1.0.0\",\"algorithm\":\"ECOD\",\"dtype\":\"float64\","
	       "\"features\":null,\"orientation\":\"higher_is_anomalous\",\"threshold\":null,\"stateful\":false}";
}

static int ascending(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static int prepare(struct column *c) {
	double *v = malloc((n + 1) * sizeof *v);
	uint32_t *below = malloc((n + 1) * sizeof *below);
	if (!v || !below) return pynomaly_fail("out of memory");
	memcpy(v, c->train, n * sizeof *v);
	qsort(v, n, sizeof *v, ascending);
	c->shift = v[n / 2];

	size_t m = 0;
	for (size_t i = 0; i < n; i++)
		if (i == 0 || v[i] != v[m - 1]) {
			below[m] = (uint32_t)i;
			v[m++] = v[i];
		}
	v[m] = NAN;
	below[m] = (uint32_t)n;
	c->values = v, c->below = below, c->distinct = m;

	double sum = 0;
	for (size_t i = 0; i < n; i++) sum += c->train[i] - c->shift;
	c->mean = sum / (double)n;
	for (size_t i = 0; i < n; i++) {
		double off = c->train[i] - c->shift - c->mean;
		c->m2 += off * off;
		c->m3 += off * off * off;
	}
	c->slope = 3 * c->m2 * per_value;
	double least = 1e-14 * (c->shift + c->mean);
	c->least_m2 = least * least * (double)(n + 1);
	return 0;
}

static int init(const pynomaly_setup *setup) {
	const pynomaly_file *f = pynomaly_find_file(setup, "train.f64");
	d = setup->feature_count;
	if (!f) return pynomaly_fail("the model has no file train.f64");
	if (d == 0) return pynomaly_fail("the model has no features");
	if (f->size % (8 * d)) return pynomaly_fail("train.f64 has %zu bytes, not a multiple of 8 for each of %zu features", f->size, d);
	n = f->size / (8 * d);
	if (n < 2) return pynomaly_fail("train.f64 has %zu rows; at least 2 are needed", n);

	double *train = malloc(f->size);
	columns = calloc(d, sizeof *columns);
	logs = malloc((n + 1) * sizeof *logs);
	if (!train || !columns || !logs) return pynomaly_fail("out of memory");
	memcpy(train, f->data, f->size);
	for (size_t i = 0; i < n * d; i++)
		if (!isfinite(train[i])) return pynomaly_fail("train.f64: row %zu of feature %zu is not finite", i % n, i / n);
	for (size_t i = 0; i <= n; i++) logs[i] = -log((double)(i + 1) / (double)(n + 1));
	per_value = 1 / (double)(n + 1);
	m2_share = (double)n * per_value;
	m3_share = m2_share * (double)(n - 1) * per_value;
	for (size_t j = 0; j < d; j++) {
		columns[j].train = train + j * n;
		if (prepare(&columns[j])) return 1;
	}
	return 0;
}

/* Whether the skewness of the training values and x is zero or undefined, with the
   very roundings of NumPy and SciPy. */
static int exactly_symmetric(const struct column *c, double x) {
	double count = (double)(n + 1), mean = 0, m2 = 0, m3 = 0;
	for (size_t i = 0; i < n; i++) mean += c->train[i];
	mean = (mean + x) / count;
	for (size_t i = 0; i <= n; i++) {
		double off = (i < n ? c->train[i] : x) - mean;
		m2 += off * off;
		m3 += off * off * off;
	}
	double least = 1e-15 * mean;
	return m2 / count <= least * least || !(m3 < 0 || m3 > 0);
}

static inline int symmetric(const struct column *c, double x) {
	double off = x - c->shift - c->mean, square = off * off;
	double m2 = c->m2 + square * m2_share, m3 = c->m3 + off * (square * m3_share - c->slope);
	if (m2 > c->least_m2 && fabs(m3) > 1e-9 * m2 * sqrt(m2 * per_value)) return 0; /* not zero, whatever the rounding */
	return exactly_symmetric(c, x);
}

/* The left tail weighs where the skewness is negative, the right one where it is
   positive, both where it is zero; the larger of that and either tail counts. As
   no tail's weight is negative, only zero makes a difference. */
static inline double term(const struct column *c, double x, size_t at) {
	double left = logs[c->below[at + (c->values[at] == x)]], right = logs[n - c->below[at]];
	if (x != x) return NAN;
	return symmetric(c, x) ? left + right : left > right ? left : right;
}

/* Four rows at a time: their searches do not wait for each other. */
enum { LANES = 4 };

static inline void terms(const struct column *c, const double x[LANES], double out[LANES]) {
	const double *at[LANES] = {c->values, c->values, c->values, c->values};
	for (size_t left = c->distinct; left > 1;) {
		size_t half = left / 2;
		for (int l = 0; l < LANES; l++) at[l] += at[l][half - 1] < x[l] ? half : 0;
		left -= half;
	}
	for (int l = 0; l < LANES; l++) out[l] = term(c, x[l], (size_t)(at[l] - c->values) + (*at[l] < x[l]));
}

static int score(pynomaly_matrix in, double *out) {
	if (in.cols != d) return pynomaly_fail("a row has %zu values, not %zu", in.cols, d);
	for (size_t i = 0; i < in.rows; i++) out[i] = 0;
	for (size_t j = 0; j < d; j++)
		for (size_t i = 0; i < in.rows; i += LANES) {
			double x[LANES] = {0}, t[LANES];
			size_t lanes = in.rows - i < LANES ? in.rows - i : LANES;
			for (size_t l = 0; l < lanes; l++) x[l] = in.f64[(i + l) * d + j];
			terms(&columns[j], x, t);
			for (size_t l = 0; l < lanes; l++) out[i + l] += t[l];
		}
	return 0;
}

static int explain(pynomaly_matrix in, double *out) {
	if (in.cols != d) return pynomaly_fail("a row has %zu values, not %zu", in.cols, d);
	for (size_t i = 0; i < in.rows; i++) {
		*out++ = 0; /* the base value */
		for (size_t j = 0; j < d; j++) {
			double x[LANES] = {in.f64[i * d + j]}, t[LANES];
			terms(&columns[j], x, t);
			*out++ = t[0];
		}
	}
	return 0;
}
