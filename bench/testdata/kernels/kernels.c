/* The kernels that the metering part of `make bench` measures: built once for
 * WebAssembly (checked in, see `make kernels`) and, at the time of the benchmark,
 * for the machine it runs on. Each takes nothing and answers with 64 bits that
 * depend on all it did, so that the variants can be compared. */
typedef unsigned long long u64;
typedef unsigned char u8;

#ifdef __wasm__
#define KERNEL(name) __attribute__((export_name(#name))) u64 name(void)
#else
#define KERNEL(name) static __attribute__((noinline)) u64 name(void)
#endif

static u64 state;

/* next_random is splitmix64. */
static u64 next_random(void) {
  u64 z = state += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

/* uniform is in [0, 1). */
static double uniform(void) { return (next_random() >> 11) * 0x1p-53; }

static u64 bits(double v) {
  union { double d; u64 u; } x = {.d = v};
  return x.u;
}

/* An isolation forest: 100 trees, each grown on 256 of 1,000 rows of 10 features. */
enum { TREES = 100, SAMPLE = 256, DEPTH = 8, ROWS = 1000, FEATURES = 10, NODES = 2 * SAMPLE };

/* A split sends a row to the node at `left` or the one after it; a leaf has the
 * feature -1 and the path's length in place of the threshold. */
struct node { double threshold; int feature, left; };

static struct node nodes[TREES][NODES];
static double rows[ROWS][FEATURES], scores[ROWS];
static int sample[SAMPLE], used;

/* unfinished is how much longer a path through n rows would be on average. */
static double unfinished(int n) {
  double harmonic = 0;
  if (n < 2) return 0;
  for (int i = 1; i < n; i++) harmonic += 1.0 / i;
  return 2 * harmonic - 2.0 * (n - 1) / n;
}

static void grow(struct node *tree, int at, int from, int to, int depth) {
  struct node *n = &tree[at];
  int f = next_random() % FEATURES;
  double low = rows[sample[from]][f], high = low;
  for (int i = from; i < to; i++) {
    double v = rows[sample[i]][f];
    low = v < low ? v : low;
    high = v > high ? v : high;
  }
  if (depth == DEPTH || to - from < 2 || low == high) {
    n->feature = -1;
    n->threshold = depth + unfinished(to - from);
    return;
  }
  n->feature = f;
  n->threshold = low + (high - low) * (uniform() * 0.98 + 0.01);
  int middle = from;
  for (int i = from; i < to; i++) {
    int row = sample[i];
    if (rows[row][f] < n->threshold) {
      sample[i] = sample[middle];
      sample[middle++] = row;
    }
  }
  n->left = used;
  used += 2;
  grow(tree, n->left, from, middle, depth + 1);
  grow(tree, n->left + 1, middle, to, depth + 1);
}

enum { SIDE = 128 };
static double a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];

enum { BYTES = 1 << 20 };
static u8 text[BYTES];

KERNEL(setup) {
  state = 1;
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < FEATURES; j++) rows[i][j] = uniform() + uniform() + uniform();
  for (int t = 0; t < TREES; t++) {
    for (int i = 0; i < SAMPLE; i++) sample[i] = next_random() % ROWS;
    used = 1;
    grow(nodes[t], 0, 0, SAMPLE, 0);
  }
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) a[i][j] = uniform(), b[i][j] = uniform();
  for (int i = 0; i < BYTES; i++) text[i] = next_random();
  return state;
}

KERNEL(forest) {
  double all = 0;
  for (int i = 0; i < ROWS; i++) {
    double length = 0;
    for (int t = 0; t < TREES; t++) {
      const struct node *n = nodes[t];
      while (n->feature >= 0) n = &nodes[t][n->left + !(rows[i][n->feature] < n->threshold)];
      length += n->threshold;
    }
    scores[i] = length / TREES;
    all += scores[i];
  }
  return bits(all);
}

KERNEL(matmul) {
  double trace = 0;
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE; j++) c[i][j] = 0;
    for (int k = 0; k < SIDE; k++) {
      double v = a[i][k];
      for (int j = 0; j < SIDE; j++) c[i][j] += v * b[k][j];
    }
  }
  for (int i = 0; i < SIDE; i++) trace += c[i][i];
  return bits(trace);
}

/* About the least that a loop can do: a rotation, an exclusive or, and the count. */
KERNEL(tight) {
  u64 x = 1;
#ifdef __clang__
#pragma clang loop unroll(disable)
#else
#pragma GCC unroll 1
#endif
  for (int i = 0; i < 10000000; i++) x = (x << 1 | x >> 63) ^ i;
  return x;
}

/* FNV-1a over 1 MiB. */
KERNEL(hash) {
  u64 h = 0xcbf29ce484222325ull;
  for (int i = 0; i < BYTES; i++) h = (h ^ text[i]) * 0x100000001b3ull;
  return h;
}

static __attribute__((noinline)) u64 fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

KERNEL(fib) { return fibonacci(30); }

#ifndef __wasm__
#include <stdio.h>
#include <string.h>
#include <time.h>

/* For each line with a kernel's name, main runs it and says how many nanoseconds
 * it took and what it answered. */
int main(void) {
  static const struct { const char *name; u64 (*run)(void); } all[] = {
    {"setup", setup}, {"forest", forest}, {"matmul", matmul}, {"tight", tight}, {"hash", hash}, {"fib", fib},
  };
  char name[32];
  while (scanf("%31s", name) == 1) {
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
      if (strcmp(name, all[i].name)) continue;
      struct timespec from, to;
      clock_gettime(CLOCK_MONOTONIC, &from);
      u64 answer = all[i].run();
      clock_gettime(CLOCK_MONOTONIC, &to);
      printf("%lld %llu\n", (to.tv_sec - from.tv_sec) * 1000000000ll + to.tv_nsec - from.tv_nsec, answer);
      fflush(stdout);
    }
  }
  return 0;
}
#endif
