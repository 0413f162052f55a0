# The baseline: how a front end is usually put into an image first. One stage, nothing kept between builds.
# Its context is the service's folder, whose own .dockerignore counts.
ARG NODE_IMAGE=node:24-trixie-slim

FROM ${NODE_IMAGE}
WORKDIR /app
COPY . .
RUN --mount=type=secret,id=ca_bundle \
    [ ! -s /run/secrets/ca_bundle ] || export NODE_EXTRA_CA_CERTS=/run/secrets/ca_bundle; \
    npm ci && npm run build
EXPOSE 4173
CMD ["npm", "exec", "vite", "preview", "--", "--host"]
