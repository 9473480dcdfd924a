// Package platform names what a host lacks on systems other than Linux.
package platform

import "log/slog"

// lacks returns what a host has only on Linux, as docs/operations.md explains it.
func lacks(platform string) []string {
	if platform == "linux" {
		return nil
	}
	return []string{"process plugins", "memory limits of children", "seccomp and Landlock", "control groups", "memory figures", "quiet listeners"}
}

// Show logs what the host lacks on this platform.
func Show(platform string, log *slog.Logger) {
	if missing := lacks(platform); len(missing) > 0 {
		log.Warn("this platform is for development: it lacks what a host has on Linux", "platform", platform, "lacks", missing)
	}
}
