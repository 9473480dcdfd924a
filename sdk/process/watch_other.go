//go:build !unix

package process

func watchParent(string) {}
