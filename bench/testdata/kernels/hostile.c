/* Guests that never end, each in an export of its own: what the metering part of
 * `make bench` sets a deadline to. */
#define GUEST(name) __attribute__((export_name(#name))) void name(void)

static volatile int sink;

GUEST(loop) {
  for (;;) sink = 0;
}

/* 2^1000 calls, none of them deep. */
static __attribute__((noinline)) int twice(int n) { return n ? twice(n - 1) + twice(n - 1) + sink : 1; }

GUEST(exponential) { sink = twice(1000); }

static __attribute__((noinline)) long long fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

GUEST(fib90) { sink = fibonacci(90); }

GUEST(memory_grow) {
  for (;;) sink = __builtin_wasm_memory_grow(0, 1);
}

static char block[1 << 22];

GUEST(fill) {
  for (;;) __builtin_memset(block, sink, sizeof block);
}

static __attribute__((noinline)) int deeper(int n) { return deeper(n + 1) + sink; }

/* This one uses up the stack. */
GUEST(recursion) { sink = deeper(0); }
