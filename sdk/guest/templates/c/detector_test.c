/* Unit tests, run natively: make test. */
#include "detector.c"

static int failures;

#define CHECK(condition, ...) \
	do { \
		if (!(condition)) { \
			failures++; \
			fprintf(stderr, "line %d: ", __LINE__); \
			fprintf(stderr, __VA_ARGS__); \
			fputc('\n', stderr); \
		} \
	} while (0)

static int run(const double *train, size_t bytes, size_t cols, const double *rows, size_t count, double *out) {
	pynomaly_file file = {"train.f64", train, bytes};
	return pynomaly_run("{}", &file, 1, (pynomaly_matrix){count, cols, {rows}}, out);
}

/* ECOD's definition for one feature, without any short cut. */
static double plain(const double *train, size_t count, double x) {
	double le = 1, ge = 1, total = (double)(count + 1), mean = 0, m2 = 0, m3 = 0;
	for (size_t i = 0; i < count; i++) le += train[i] <= x, ge += train[i] >= x, mean += train[i];
	mean = (mean + x) / total;
	for (size_t i = 0; i <= count; i++) {
		double off = (i < count ? train[i] : x) - mean;
		m2 += off * off, m3 += off * off * off;
	}
	double left = -log(le / total), right = -log(ge / total), both = left + right;
	int undefined = m2 / total <= 1e-30 * mean * mean;
	return fmax(fmax(left, right), undefined || m3 == 0 ? both : m3 < 0 ? left : right);
}

static void test_definition(void) {
	static const double train[3][7] = {
		{1, 2, 3, 4, 5, 6, 7},           /* symmetric where x is 4 */
		{0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}, /* no skewness where x is 0.1 */
		{-3, 0, 0, 0.5, 2, 90, 1e6},
	};
	static const double values[] = {-1e9, -3, 0, 0.1, 0.3, 1, 3.5, 4, 7, 8, 90, 1e12, INFINITY};
	enum { COUNT = sizeof values / sizeof *values };
	double rows[COUNT][3], out[COUNT], explained[COUNT][4];
	for (size_t i = 0; i < COUNT; i++)
		for (size_t j = 0; j < 3; j++) rows[i][j] = values[(i + 5 * j) % COUNT];
	int status = run(train[0], sizeof train, 3, rows[0], COUNT, out);
	CHECK(status == 0, "score: %s", pynomaly_error);
	CHECK(explain((pynomaly_matrix){COUNT, 3, {rows[0]}}, explained[0]) == 0, "explain: %s", pynomaly_error);
	for (size_t i = 0; i < COUNT; i++) {
		double sum = 0, alone;
		CHECK(explained[i][0] == 0, "row %zu: the base value is %g", i, explained[i][0]);
		for (size_t j = 0; j < 3; j++) {
			double want = plain(train[j], 7, rows[i][j]);
			sum += want;
			CHECK(fabs(explained[i][1 + j] - want) <= 1e-12, "row %zu, feature %zu: %g, not %g", i, j, explained[i][1 + j], want);
		}
		CHECK(fabs(out[i] - sum) <= 1e-12, "row %zu: %g, not %g", i, out[i], sum);
		CHECK(score((pynomaly_matrix){1, 3, {rows[i]}}, &alone) == 0 && alone == out[i], "row %zu: %g alone, %g with others", i, alone, out[i]);
	}
}

static void test_nan(void) {
	static const double train[] = {1, 2, 3, 4, 5, 6}, rows[] = {1, 5, NAN, 5, 2, NAN};
	double out[3];
	CHECK(run(train, sizeof train, 2, rows, 3, out) == 0, "%s", pynomaly_error);
	CHECK(isfinite(out[0]) && isnan(out[1]) && isnan(out[2]), "%g %g %g", out[0], out[1], out[2]);
}

static void test_refusals(void) {
	static const double train[] = {1, 2, 3, 4, 5, NAN}, row[] = {1, 2};
	double out[1];
	CHECK(run(train, 40, 2, row, 1, out) == 1 && strstr(pynomaly_error, "40 bytes"), "%s", pynomaly_error);
	CHECK(run(train, 16, 2, row, 1, out) == 1 && strstr(pynomaly_error, "1 rows"), "%s", pynomaly_error);
	CHECK(run(train, 48, 2, row, 1, out) == 1 && strstr(pynomaly_error, "row 2 of feature 1"), "%s", pynomaly_error);
	CHECK(pynomaly_run("{}", NULL, 0, (pynomaly_matrix){1, 2, {row}}, out) == 1, "no file is needed");
	CHECK(run(train, 32, 2, row, 1, out) == 0, "%s", pynomaly_error);
	CHECK(score((pynomaly_matrix){1, 1, {row}}, out) == 1, "a short row is taken");
}

/* The header's JSON, which a detector uses for its config. */
static void test_config(void) {
	static const char text[] = "{ \"other\": [1, {\"k\": 5}, \"]\"], \"k\" : -2.5e1 , \"s\": \"a\\\"\\u00e9\\ud83d\\ude00\\n\", \"t\":true}";
	pynomaly_json config = {text, text + sizeof text - 1}, list = pynomaly_get(config, "other"), item;
	char *s = pynomaly_string(config, "s");
	size_t items = 0;
	CHECK(pynomaly_number(config, "k", 0) == -25, "%g", pynomaly_number(config, "k", 0));
	CHECK(pynomaly_number(config, "t", 7) == 7 && pynomaly_number(config, "none", 7) == 7, "no number is one");
	CHECK(s && strcmp(s, "a\"\xc3\xa9\xf0\x9f\x98\x80\n") == 0, "%s", s);
	CHECK(!pynomaly_string(config, "k"), "a number is a string");
	while (pynomaly_next(&list, &item)) items++;
	CHECK(items == 3, "%zu items", items);
	free(s);
	for (size_t size = 0; size < sizeof text - 1; size++) { /* cut short, it is read no further */
		char *copy = malloc(size + 1);
		memcpy(copy, text, size);
		free(pynomaly_string((pynomaly_json){copy, copy + size}, "t"));
		free(copy);
	}
}

int main(void) {
	test_definition();
	test_nan();
	test_refusals();
	test_config();
	if (failures == 0) puts("ok");
	return failures != 0;
}
