FROM node:24-slim AS build

RUN apt-get update && apt-get install --yes --no-install-recommends tini
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts
COPY README.md LICENSE schema.graphql ./
COPY src ./src
COPY script/build-dashboard.ts script/build-package.ts script/build-sbom.ts ./script/

# The root of the image: the package as it is published, Node.js, and the libraries that Node.js is linked with. The list of Debian's
# packages is what scanners look for.
WORKDIR /image/app
RUN (cd /build && npm pack --silent) \
  && tar --extract --gzip --strip-components=1 --file /build/queue-latency-*.tgz \
  && find node_modules -type f \( -name '*.map' -o -name '*.ts' -o -name '*.cts' -o -name '*.mts' \) -delete \
  && cp --parents --dereference /usr/local/bin/node $(ldd /usr/local/bin/node | grep --only-matching '/[^ ]*') /etc/os-release /image \
  && cp /usr/bin/tini-static /image/usr/local/bin/tini \
  && echo 'node:x:1000:1000::/app:/nonexistent' > /image/etc/passwd \
  && mkdir --parents /image/var/lib/dpkg \
  && dpkg-query --status base-files libc6 libgcc-s1 libstdc++6 tini > /image/var/lib/dpkg/status

# No shell and no package manager: what the server does not need, an intruder does not have.
FROM scratch

COPY --from=build /image /
WORKDIR /app
ENV PATH=/usr/local/bin NODE_ENV=production HOST=0.0.0.0 PORT=4000
# By number: Kubernetes cannot prove of a name that it is not root.
USER 1000:1000
EXPOSE 4000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]

# There is no redis-server in this image: REDIS_URL must name one, and API_TOKENS_FILE the tokens.
# As process 1, Node.js would leave zombies: tini reaps them, and forwards signals.
# The flags are those of `npm start` (docs/decisions/0024-cap-the-young-generation.md).
ENTRYPOINT ["tini", "--", "node", "--max-semi-space-size=16", "--heap-growing-percent=100", "lib/main.js"]

ARG VERSION=development
LABEL org.opencontainers.image.title="queue-latency" \
  org.opencontainers.image.description="How long has the oldest job of each queue been waiting? A GraphQL API and a dashboard" \
  org.opencontainers.image.source="https://github.com/queue-latency/queue-latency" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="$VERSION"
