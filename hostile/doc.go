// Package hostile exposes a built host to everything that may attack it: graphs,
// modules, manifests, folders and requests.
//
// TestCorpus adds them to the models directory of a host that serves good models of
// each backend, and sends hostile requests, while good requests continue. Each case
// says what must happen and is a row of a table, which HOSTILE_TABLE=file writes as
// Markdown; docs/hostile.md shows it. During all cases no good request may be lost,
// the host's resident memory, read from /proc, must stay below its limit, and the
// host may open only files of the models and files that it needs. At the end another
// host, in production mode, starts with the models that are left.
//
// As root, the tests watch everything that the host and its children open
// (fanotify). Any user can watch the files that the cases try to read (inotify).
//
// "go test ./hostile" runs cases in groups. "HOSTILE=full go test ./hostile" runs
// each alone, so that the memory in the table belongs to it. HOSTILE_RUN is a
// regular expression that selects cases.
package hostile
