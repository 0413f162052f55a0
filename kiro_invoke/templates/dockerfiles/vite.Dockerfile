# Production image: static files behind nginx, run by a user without rights.
{% if explained %}
# Explained step by step in docs/guide.md.
{% endif %}
ARG NODE_IMAGE={{ node_image }}
ARG NGINX_IMAGE={{ nginx_image }}

{% include "vite.planner" %}# All dependencies: the build needs the development ones too. What they were installed from is gone again: only what
# `COPY . .` brings may stand beside them.
FROM ${NODE_IMAGE} AS install
WORKDIR /app
RUN --mount=type=cache,id=kiro-npm,target=/root/.npm,sharing=locked \
    --mount=type=bind,from=planner,source=/kiro/plan,target=/plan \
    --mount=type=secret,id=ca_bundle \
{% if npmrc %}
    --mount=type=secret,id=npmrc,target=/root/.npmrc \
{% endif %}
    [ ! -s /run/secrets/ca_bundle ] || export NODE_EXTRA_CA_CERTS=/run/secrets/ca_bundle; \
    cp -a /plan/. . && npm ci --prefer-offline --no-audit --no-fund && (cd /plan && find . -type f) | xargs rm

FROM install AS build
COPY <<'TREE_REVISION' /usr/local/lib/tree-revision.mjs
TREE_REVISION
COPY . .
# The page's proof is computed from what is here now, before anything is built. No network: what the page is made
# of is in the tree that the proof tells of. Take that out where a lifecycle script of your own has to download.
RUN --network=none --mount=type=bind,from=planner,source=/kiro/plan,target=/plan \
    revision=$(node /usr/local/lib/tree-revision.mjs /app node_modules) \
 && sh -e /plan/after-install \
 && npm run build \
 && echo "$revision" >{{ out }}/kiro-revision.txt \
 && mkdir /kiro && mv {{ out }} /kiro/page

FROM ${NGINX_IMAGE} AS runtime
COPY nginx.conf /etc/nginx/nginx.conf
COPY --from=build /kiro/page /usr/share/nginx/html
LABEL dev.kiro.proof=/usr/share/nginx/html/kiro-revision.txt
USER nginx
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:8080/healthz"]
CMD ["nginx", "-e", "stderr", "-g", "daemon off;"]
