// Package attack lets a built host meet who means it harm over the network: forged
// tokens, lying sources of keys, guessed keys, every role on every route, requests
// that two servers read differently, pages of other sites, clients that are slow or
// many, and those who forge or change what logs and audits say.
//
// TestAttacks starts a host in production with keys, tokens, an audit and an address
// for operators, and attacks it while good requests continue. Each case says what must
// happen and is a row of a table, which ATTACK_TABLE=file writes as Markdown;
// docs/security.md shows it. No good request may be lost. At the end the audit must
// verify, and nothing that the host has written may hold a secret.
//
// TestProvider has a host accept the tokens of a real OpenID provider, whose keys
// change while requests run.
//
// ATTACK_RUN is a regular expression that selects cases. Package hostile attacks a host
// with models and files.
package attack
