/*
 * pynomaly.h makes a detector written in C a WebAssembly plugin.
 *
 * A plugin is one source file that includes this header and defines describe,
 * init and score. A definition before the include adds an optional function:
 *
 *   PYNOMALY_EXPLAIN    explain
 *   PYNOMALY_LEARN      learn
 *   PYNOMALY_SNAPSHOT   save and load
 *
 * Everywhere but in WebAssembly the header is plain C, so that a detector is
 * unit-tested natively with pynomaly_run. It needs C11.
 */
#ifndef PYNOMALY_H
#define PYNOMALY_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PYNOMALY_HELPER static __attribute__((unused))

/* A piece of JSON text, not ended by a zero; from is NULL where there is none. */
typedef struct { const char *from, *to; } pynomaly_json;
typedef struct { char *name, *dtype; } pynomaly_feature;
typedef struct { char *name; const void *data; size_t size; } pynomaly_file;

/* What a detector is given before its first rows. All of it is gone after init:
   copy what you need. */
typedef struct {
	pynomaly_json config; /* the config section of the manifest, an object */
	char *dtype;
	pynomaly_feature *features;
	size_t feature_count;
	pynomaly_file *files; /* the files section of the manifest */
	size_t file_count;
} pynomaly_setup;

/* Rows x columns numbers, row after row, in the described dtype. */
typedef struct {
	size_t rows, cols;
	union {
		const double *f64;
		const float *f32;
		const int64_t *i64;
	};
} pynomaly_matrix;

/* What a plugin's author writes. All but describe and save answer 0, or what
   pynomaly_fail answers. */

/* A JSON object: name, version, algorithm, dtype (float32, float64 or int64),
   features (names, or null: as the manifest says), orientation
   (higher_is_anomalous or higher_is_normal), threshold, stateful. */
static const char *describe(void);
/* Is called once, after describe. */
static int init(const pynomaly_setup *setup);
/* Writes one raw score a row. One that is not finite means that the row cannot
   be scored. */
static int score(pynomaly_matrix in, double *out);
#ifdef PYNOMALY_EXPLAIN
/* Writes, for each row, a base value and a contribution of each column to the
   raw score: rows x (1 + cols) numbers. */
static int explain(pynomaly_matrix in, double *out);
#endif
#ifdef PYNOMALY_LEARN
static int learn(pynomaly_matrix in);
#endif
#ifdef PYNOMALY_SNAPSHOT
/* The state, in memory that stays as it is until the next call; size 0: none. */
static const void *save(size_t *size);
static int load(const void *data, size_t size);
#endif

static char pynomaly_error[1024];

/* Keeps a message for the host and answers 1: return pynomaly_fail("..."). */
__attribute__((unused, format(printf, 1, 2))) static int pynomaly_fail(const char *format, ...) {
	va_list args;
	va_start(args, format);
	vsnprintf(pynomaly_error, sizeof pynomaly_error, format, args);
	va_end(args);
	return 1;
}

/* JSON. The host's is well-formed; what is not is taken for absent. */

static const char *pynomaly_space(const char *at, const char *to) {
	while (at < to && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
	return at;
}

/* The end of the value that starts at at, NULL if there is none. */
static const char *pynomaly_skip(const char *at, const char *to) {
	const char *start = at;
	int depth = 0, quoted = 0;
	for (; at < to; at++) {
		if (quoted) {
			if (*at == '\\') at++;
			else if (*at == '"') quoted = 0;
			if (!quoted && depth == 0) return at + 1;
		} else if (*at == '"') {
			quoted = 1;
		} else if (*at == '{' || *at == '[') {
			depth++;
		} else if (*at == '}' || *at == ']') {
			if (depth == 0) break;
			if (--depth == 0) return at + 1;
		} else if (depth == 0 && strchr(", :\t\r\n", *at)) {
			break;
		}
	}
	return depth || quoted || at == start || at > to ? NULL : at;
}

/* Takes the next item off an array, or the next key or value off an object:
   rest starts as the whole. It answers 0 at the end. */
PYNOMALY_HELPER int pynomaly_next(pynomaly_json *rest, pynomaly_json *item) {
	const char *at = rest->from, *to = rest->to;
	if (!at) return 0;
	at = pynomaly_space(at, to);
	if (at < to && strchr("[{,:", *at)) at = pynomaly_space(at + 1, to);
	if (at >= to || !(rest->from = pynomaly_skip(at, to))) return 0;
	item->from = at;
	item->to = rest->from;
	return 1;
}

static unsigned pynomaly_hex(const char *at, const char *to) {
	char digits[5] = {0};
	memcpy(digits, at, to - at < 4 ? (size_t)(to - at) : 4);
	return (unsigned)strtoul(digits, NULL, 16);
}

static char *pynomaly_utf8(char *out, unsigned c) {
	if (c < 0x80) {
		*out++ = (char)c;
		return out;
	}
	int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	*out++ = (char)((more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0) | c >> 6 * more);
	while (more-- > 0) *out++ = (char)(0x80 | (c >> 6 * more & 0x3F));
	return out;
}

/* A JSON string's text, for free(); NULL if the value is none. */
PYNOMALY_HELPER char *pynomaly_text(pynomaly_json value) {
	const char *at = value.from, *to = value.to;
	if (!at || to - at < 2 || *at != '"') return NULL;
	char *text = malloc((size_t)(to - at)), *out = text;
	if (!text) return NULL;
	for (at++, to--; at < to; at++) {
		unsigned c = (unsigned char)*at;
		if (c != '\\' || at + 1 == to) {
			*out++ = (char)c;
			continue;
		}
		c = (unsigned char)*++at;
		if (c == 'u') {
			c = pynomaly_hex(at + 1, to);
			at += to - at > 4 ? 4 : to - at - 1;
			if (c >> 10 == 0x36 && to - at > 6 && at[1] == '\\' && at[2] == 'u') {
				c = 0x10000 + ((c & 0x3FF) << 10 | (pynomaly_hex(at + 3, to) & 0x3FF));
				at += 6;
			}
		} else {
			c = c == 'b' ? '\b' : c == 'f' ? '\f' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
		}
		out = pynomaly_utf8(out, c);
	}
	*out = 0;
	return text;
}

/* The value of an object's key, as JSON text. */
PYNOMALY_HELPER pynomaly_json pynomaly_get(pynomaly_json object, const char *key) {
	pynomaly_json rest = object, name, value, none = {NULL, NULL};
	while (pynomaly_next(&rest, &name) && pynomaly_next(&rest, &value)) {
		char *text = pynomaly_text(name);
		int found = text && strcmp(text, key) == 0;
		free(text);
		if (found) return value;
	}
	return none;
}

/* The number at an object's key, otherwise if there is none. */
PYNOMALY_HELPER double pynomaly_number(pynomaly_json object, const char *key, double otherwise) {
	pynomaly_json value = pynomaly_get(object, key);
	char digits[64], *end;
	size_t size = (size_t)(value.to - value.from);
	if (!value.from || size >= sizeof digits || !strchr("-0123456789", *value.from)) return otherwise;
	memcpy(digits, value.from, size);
	digits[size] = 0;
	double number = strtod(digits, &end);
	return *end ? otherwise : number;
}

/* The text at an object's key, for free(); NULL if there is none. */
PYNOMALY_HELPER char *pynomaly_string(pynomaly_json object, const char *key) {
	return pynomaly_text(pynomaly_get(object, key));
}

/* The file of a name, NULL if there is none. */
PYNOMALY_HELPER const pynomaly_file *pynomaly_find_file(const pynomaly_setup *setup, const char *name) {
	for (size_t i = 0; i < setup->file_count; i++)
		if (setup->files[i].name && strcmp(setup->files[i].name, name) == 0) return &setup->files[i];
	return NULL;
}

/* The init block: a length, a JSON object, and the files. */

static size_t pynomaly_count(pynomaly_json array) {
	pynomaly_json item;
	size_t n = 0;
	while (pynomaly_next(&array, &item)) n++;
	return n;
}

static int pynomaly_parse(pynomaly_setup *s, const char *block, size_t size) {
	uint32_t length = 0;
	if (size >= 4) memcpy(&length, block, 4);
	if (size < 4 || length > size - 4) return pynomaly_fail("the init block is malformed: it has %zu bytes", size);
	pynomaly_json head = {block + 4, block + 4 + length}, item;
	pynomaly_json features = pynomaly_get(head, "features"), files = pynomaly_get(head, "files");
	s->config = pynomaly_get(head, "config");
	s->dtype = pynomaly_string(head, "dtype");
	s->features = calloc(pynomaly_count(features) + 1, sizeof *s->features);
	s->files = calloc(pynomaly_count(files) + 1, sizeof *s->files);
	if (!s->features || !s->files) return pynomaly_fail("out of memory");
	while (pynomaly_next(&features, &item)) {
		s->features[s->feature_count].name = pynomaly_string(item, "name");
		s->features[s->feature_count++].dtype = pynomaly_string(item, "dtype");
	}
	while (pynomaly_next(&files, &item)) {
		pynomaly_file *f = &s->files[s->file_count++];
		double offset = pynomaly_number(item, "offset", -1), bytes = pynomaly_number(item, "size", -1);
		f->name = pynomaly_string(item, "name");
		if (!f->name || offset < 0 || bytes < 0 || offset + bytes > (double)size)
			return pynomaly_fail("the init block is malformed: file %zu lies outside it", s->file_count - 1);
		f->data = block + (size_t)offset;
		f->size = (size_t)bytes;
	}
	return 0;
}

static int pynomaly_start(const char *block, size_t size) {
	pynomaly_setup s = {0};
	int status = pynomaly_parse(&s, block, size);
	if (status == 0) status = init(&s);
	for (size_t i = 0; i < s.feature_count; i++) free(s.features[i].name), free(s.features[i].dtype);
	for (size_t i = 0; i < s.file_count; i++) free(s.files[i].name);
	free(s.features), free(s.files), free(s.dtype);
	return status;
}

#ifdef __wasm__

/* The module's side of the plugin ABI, version 1. A module is called by one
   thread at a time. */

#define PYNOMALY_EXPORT(name) __attribute__((export_name(#name))) name

static uint64_t pynomaly_pack(const void *data, size_t size) {
	return size ? (uint64_t)(uintptr_t)data << 32 | size : 0;
}

#define PYNOMALY_MATRIX(in, rows, cols) ((pynomaly_matrix){(rows), (cols), {(in)}})

void PYNOMALY_EXPORT(pynomaly_abi_v1)(void) {}

void *PYNOMALY_EXPORT(pynomaly_alloc)(uint32_t size) {
	return size > UINT32_MAX - 15 ? NULL : aligned_alloc(16, (size + 15) & ~(uint32_t)15);
}

void PYNOMALY_EXPORT(pynomaly_free)(void *block, uint32_t size) {
	(void)size;
	free(block);
}

uint64_t PYNOMALY_EXPORT(pynomaly_describe)(void) {
	const char *text = describe();
	return pynomaly_pack(text, strlen(text));
}

/* Begins a call: what an earlier one said was wrong is not this one's. */
#define PYNOMALY_BEGIN (pynomaly_error[0] = 0)

int PYNOMALY_EXPORT(pynomaly_init)(const char *block, uint32_t size) {
	PYNOMALY_BEGIN;
	return pynomaly_start(block, size);
}

int PYNOMALY_EXPORT(pynomaly_score)(const double *in, uint32_t rows, uint32_t cols, double *out) {
	PYNOMALY_BEGIN;
	return score(PYNOMALY_MATRIX(in, rows, cols), out);
}

uint64_t PYNOMALY_EXPORT(pynomaly_last_error)(void) { return pynomaly_pack(pynomaly_error, strlen(pynomaly_error)); }

#ifdef PYNOMALY_EXPLAIN
int PYNOMALY_EXPORT(pynomaly_explain)(const double *in, uint32_t rows, uint32_t cols, double *out) {
	PYNOMALY_BEGIN;
	return explain(PYNOMALY_MATRIX(in, rows, cols), out);
}
#endif
#ifdef PYNOMALY_LEARN
int PYNOMALY_EXPORT(pynomaly_learn)(const double *in, uint32_t rows, uint32_t cols) {
	PYNOMALY_BEGIN;
	return learn(PYNOMALY_MATRIX(in, rows, cols));
}
#endif
#ifdef PYNOMALY_SNAPSHOT
uint64_t PYNOMALY_EXPORT(pynomaly_save)(void) {
	size_t size = 0;
	const void *data = save(&size);
	return pynomaly_pack(data, size);
}
int PYNOMALY_EXPORT(pynomaly_load)(const void *data, uint32_t size) {
	PYNOMALY_BEGIN;
	return load(data, size);
}
#endif

#else

/* Does natively what the host does with a module: it hands init the config (JSON
   text), columns f0, f1 and so on, and the files, then scores. Use it in unit
   tests; pynomaly_error has the message where it does not answer 0. */
PYNOMALY_HELPER int pynomaly_run(const char *config, const pynomaly_file *files, size_t file_count, pynomaly_matrix in, double *out) {
	const char *described = describe();
	char *dtype = pynomaly_string((pynomaly_json){described, described + strlen(described)}, "dtype");
	if (!dtype) return pynomaly_fail("describe gives no dtype");
	size_t column = 64 + strlen(dtype), room = strlen(config) + column * (in.cols + 1) + 256, total = 0;
	for (size_t i = 0; i < file_count; i++) {
		if (strpbrk(files[i].name, "\"\\")) return free(dtype), pynomaly_fail("file %zu: its name has a quote or a backslash", i);
		room += strlen(files[i].name) + 96, total += files[i].size + 16;
	}
	size_t at = (4 + room + 15) / 16 * 16, used = 0;
	char *block = calloc(1, at + total);
	if (!block) return free(dtype), pynomaly_fail("out of memory");
	char *json = block + 4;
	/* room suffices for all of it; what did not fit would be left out, and found. */
#define PYNOMALY_ADD(...) (used += used < room ? (size_t)snprintf(json + used, room - used, __VA_ARGS__) : 0)
	PYNOMALY_ADD("{\"config\":%s,\"dtype\":\"%s\",\"features\":[", config, dtype);
	for (size_t i = 0; i < in.cols; i++) PYNOMALY_ADD("%s{\"name\":\"f%zu\",\"dtype\":\"%s\"}", i ? "," : "", i, dtype);
	PYNOMALY_ADD("],\"files\":[");
	for (size_t i = 0; i < file_count; i++) {
		PYNOMALY_ADD("%s{\"name\":\"%s\",\"offset\":%zu,\"size\":%zu}", i ? "," : "", files[i].name, at, files[i].size);
		memcpy(block + at, files[i].data, files[i].size);
		at = (at + files[i].size + 15) / 16 * 16;
	}
	PYNOMALY_ADD("]}");
#undef PYNOMALY_ADD
	uint32_t length = (uint32_t)used;
	memcpy(block, &length, 4);
	int status = used < room ? pynomaly_start(block, at) : pynomaly_fail("config, dtype and names of files do not fit");
	free(block), free(dtype);
	return status ? status : score(in, out);
}

#endif
#endif
