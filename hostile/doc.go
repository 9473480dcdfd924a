// Package hostile holds the tests that let one built host meet everything that means it
// harm: graphs, modules, manifests, folders and requests.
//
// TestCorpus drops them into the models directory of a host that serves good models of
// each backend, and sends hostile requests, while good requests go on. Each case says
// what must happen and becomes a row of a table, which HOSTILE_TABLE=file writes as
// Markdown; docs/security.md shows it. Over all of them no good request may be lost, the
// host's resident memory, read from /proc, must stay within its bound, and no file may be
// opened but those of the models and those that the host needs. At the end another host,
// in production, starts on what is left in the directory.
//
// As root, all that the host and its children open is watched (fanotify). Any user can
// watch files that nobody may open (inotify): those that the cases are after.
//
// go test ./hostile meets cases in groups, HOSTILE=full go test ./hostile each alone, so
// that the memory in the table is its own. HOSTILE_RUN is a regular expression of cases.
package hostile
