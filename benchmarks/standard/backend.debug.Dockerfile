# The baseline at the debug profile (see backend.Dockerfile).
ARG RUST_IMAGE=rust:1.95-slim-trixie

FROM ${RUST_IMAGE}
WORKDIR /app
COPY . .
RUN --mount=type=secret,id=ca_bundle \
    [ ! -s /run/secrets/ca_bundle ] || export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle; \
    cargo build
EXPOSE 8080
CMD ["target/debug/kiro-backend"]
