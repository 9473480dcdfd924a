// Package platform says what a host lacks where it does not run on Linux.
package platform

import "log/slog"

// lacks names what a host has on Linux alone, as docs/operations.md explains it.
func lacks(platform string) []string {
	if platform == "linux" {
		return nil
	}
	return []string{"process plugins", "memory limits of children", "seccomp and Landlock", "control groups", "memory figures", "quiet listeners"}
}

// Show warns of what the host does without on this platform.
func Show(platform string, log *slog.Logger) {
	if missing := lacks(platform); len(missing) > 0 {
		log.Warn("this platform is for development: it lacks what a host has on Linux", "platform", platform, "lacks", missing)
	}
}
