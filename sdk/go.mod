module github.com/pynomaly/pynomaly-runtime/sdk

go 1.26
