# Builds the same as `make image` where there is a Docker daemon:
#   docker build -t pynomaly-runtime .
#   docker build -t pynomaly-runtime:debug --target debug .
# `make base-images` writes the digests of the base images behind their tags, and renews them.
FROM golang:1.26-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY go.mod go.sum ./
COPY sdk/go.mod sdk/
COPY sdk/process/go.mod sdk/process/go.sum sdk/process/
RUN go mod download
COPY . .
RUN make onnxruntime build
RUN mkdir -p bin/state

# Glibc and libstdc++, no shell.
FROM gcr.io/distroless/cc-debian12:nonroot AS release
WORKDIR /app
COPY --from=build /src/bin/pynomaly-runtime /src/bin/libonnxruntime.so.1.28.0 /src/plugins.yaml ./
COPY --from=build /src/bin/plugins ./plugins
COPY --from=build /src/testdata/models ./models
COPY --from=build --chown=65532:65532 /src/bin/state ./state
USER 65532:65532
ENV PYNOMALY_STATE_DIR=/app/state
EXPOSE 8080
ENTRYPOINT ["/app/pynomaly-runtime"]
CMD ["serve", "--host", "0.0.0.0", "--models", "/app/models"]

# The same with a shell, curl, ps and nslookup.
FROM debian:bookworm-slim AS debug
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libstdc++6 curl procps dnsutils \
 && rm -rf /var/lib/apt/lists/*
COPY --from=release /app /app
WORKDIR /app
COPY --from=build --chown=65532:65532 /src/bin/state ./state
USER 65532:65532
ENV PYNOMALY_STATE_DIR=/app/state
EXPOSE 8080
ENTRYPOINT ["/app/pynomaly-runtime"]
CMD ["serve", "--host", "0.0.0.0", "--models", "/app/models"]

FROM release
