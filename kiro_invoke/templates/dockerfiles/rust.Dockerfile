# Production image: the stripped release binary on a slim Debian, run by a user without rights.
{% if explained %}
# Explained line by line in docs/fast-dockerfiles.md.
{% endif %}
ARG RUST_IMAGE={{ rust_image }}
ARG DEBIAN_IMAGE={{ debian_image }}

{% include "rust.head" %}{% set below = "system" if system_packages else "base" %}
{% if system_packages %}
# What these crates need of the system. cargo-chef and the other helpers do without.
FROM base AS system
RUN --mount=type=cache,id={{ mounts }}-apt-cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id={{ mounts }}-apt-lists,target=/var/lib/apt,sharing=locked \
    apt-get update \
 && apt-get install -y --no-install-recommends {{ system_packages | join(" ") }}

{% endif %}
{% include "rust.why" %}FROM {{ below }} AS crates
{% include "rust.crates" %}# Dependencies are compiled in a mount of their own and copied into the layer (see Dockerfile.fast).
FROM crates AS cook
ENV CARGO_INCREMENTAL=0
RUN --mount=type=bind,from=fresh,source=/usr/local/bin/kiro-fresh,target=/usr/local/bin/kiro-fresh \
    --mount=type=bind,from=chef,source=/usr/local/bin/cargo-chef,target=/usr/local/bin/cargo-chef \
    --mount=type=bind,from=planner,source=/kiro/recipe.json,target=/kiro/recipe.json \
    --mount=type=cache,id={{ mounts }}-release-linux-amd64-deps,target=/deps,from={{ below }},source=/kiro/empty,sharing=locked \
    kiro-fresh deps /deps cargo chef cook --recipe-path /kiro/recipe.json --release --locked --offline \
 && find . -mindepth 1 -delete && cp -a /deps /target && mkdir /kiro/cooked

# A plain cache mount on /app/target would hide the cooked dependencies: this one gets them from /target. The mount on
# /kiro/cooked is empty: it tells by its id whose dependency layer this is. Its stage must not be the very one that is
# below the step: BuildKit would read all of that.
FROM cook AS builder
COPY --from=fresh /usr/local/bin/kiro-fresh /usr/local/bin/kiro-fresh
RUN --mount=type=bind,target=/app,rw \
    --mount=type=cache,id={{ mounts }}-release-linux-amd64-cooked,target=/kiro/cooked,from=cook,source=/kiro/cooked,sharing=locked,ro \
    --mount=type=cache,id={{ mounts }}-release-linux-amd64-target,target=/app/target,from={{ below }},source=/kiro/empty,sharing=locked \
    kiro-fresh build --cooked /target cargo build --release --package {{ package }}{{ " --bin " ~ binary if binary != package else "" }} --locked --offline \
 && install -D target/release/{{ binary }} /out/{{ binary }}

FROM ${DEBIAN_IMAGE} AS runtime
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin kiro{{ " \\
 && install -d -o kiro -g kiro " ~ data if data else "" }}
{% if runtime_packages %}
RUN apt-get update \
 && apt-get install -y --no-install-recommends {{ runtime_packages | join(" ") }} \
 && rm -rf /var/lib/apt/lists/*
{% endif %}
COPY --from=builder /out/{{ binary }} /usr/local/bin/{{ binary }}
{% if env %}
ENV {{ env | join(" ") }}
{% endif %}
LABEL dev.kiro.proof=/usr/local/bin/{{ binary }}
USER kiro
{% if data %}
VOLUME {{ data }}
{% endif %}
{% if port %}
EXPOSE {{ port }}
{% endif %}
{% if health %}
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["{{ binary }}", "{{ health }}"]
{% endif %}
CMD ["{{ binary }}"]
