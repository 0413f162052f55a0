# Production image: {{ "static files behind nginx, run by a user without rights" if page else "the program and all that it was installed with, run by a user without rights" }}.
ARG NODE_IMAGE={{ node_image }}
{% if page %}
ARG NGINX_IMAGE={{ nginx_image }}
{% endif %}

{% include "node.head" %}
FROM install AS build
{% include "node.revision" %}
# The proof is computed from what was sent, before anything is built. No network: what is built is made of the tree
# that the proof tells of. Take that out where a build of your own has to download.
RUN --network=none --mount=type=bind,target=/context \
    mkdir -p /kiro && node /usr/local/lib/tree-revision.mjs /context >/kiro/revision.txt \
{% if needed_build %}
 && {{ needed_build }} \
{% endif %}
 && {{ build or "true" }}{{ " \\\n && cp /kiro/revision.txt " ~ page ~ "/kiro-revision.txt && mv " ~ page ~ " /kiro/page" if page else "" }}

{% if page %}
FROM ${NGINX_IMAGE} AS runtime
COPY {{ folder ~ "/" if folder else "" }}nginx.conf /etc/nginx/nginx.conf
COPY --from=build /kiro/page /usr/share/nginx/html
LABEL dev.kiro.proof=/usr/share/nginx/html/kiro-revision.txt
USER nginx
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:8080/healthz"]
CMD ["nginx", "-e", "stderr", "-g", "daemon off;"]
{% else %}
FROM base AS runtime
ENV NODE_ENV=production
COPY --from=build /app /app
COPY --from=build /kiro/revision.txt /kiro/revision.txt
LABEL dev.kiro.proof=/kiro/revision.txt
USER node
{% if port %}
EXPOSE {{ port }}
{% endif %}
CMD {{ start | quoted }}
{% endif %}
