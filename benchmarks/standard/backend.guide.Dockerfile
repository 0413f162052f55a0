# The recipe of the guide for Rust in Docker's own documentation (docker/docs, content/guides/rust/build-images.md),
# as it stands there but for: Debian instead of Alpine as in the services' own images, this workspace's source
# folder and program, mount ids of its own, and a company's certificates where there are any.
ARG RUST_IMAGE=rust:1.95-slim-trixie
ARG DEBIAN_IMAGE=debian:13-slim
ARG APP_NAME=kiro-backend

FROM ${RUST_IMAGE} AS build
ARG APP_NAME
WORKDIR /app
RUN --mount=type=bind,source=crates,target=crates \
    --mount=type=bind,source=Cargo.toml,target=Cargo.toml \
    --mount=type=bind,source=Cargo.lock,target=Cargo.lock \
    --mount=type=cache,id=kiro-bench-guide-release-target,target=/app/target/ \
    --mount=type=cache,id=kiro-bench-guide-git,target=/usr/local/cargo/git/db \
    --mount=type=cache,id=kiro-bench-guide-registry,target=/usr/local/cargo/registry/ \
    --mount=type=secret,id=ca_bundle \
    [ ! -s /run/secrets/ca_bundle ] || export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle; \
    cargo build --locked --release && \
    cp ./target/release/$APP_NAME /bin/server

FROM ${DEBIAN_IMAGE} AS final
ARG UID=10001
RUN useradd --uid "${UID}" --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin appuser
USER appuser
COPY --from=build /bin/server /bin/
EXPOSE 8080
CMD ["/bin/server"]
