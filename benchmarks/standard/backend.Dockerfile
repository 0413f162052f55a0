# The baseline: how a Rust service is usually put into an image first. One stage, nothing kept between builds.
# Its context is the service's folder, whose own .dockerignore counts.
ARG RUST_IMAGE=rust:1.95-slim-trixie

FROM ${RUST_IMAGE}
WORKDIR /app
COPY . .
RUN --mount=type=secret,id=ca_bundle \
    [ ! -s /run/secrets/ca_bundle ] || export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle; \
    cargo build --release
EXPOSE 8080
CMD ["target/release/kiro-backend"]
