# The bundle of the dashboard, for which devDependencies are needed.
FROM node:24-slim AS build

WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts
COPY src ./src
COPY script/build-dashboard.ts ./script/
RUN node script/build-dashboard.ts

FROM node:24-slim

WORKDIR /app
ENV NODE_ENV=production HOST=0.0.0.0 PORT=4000

COPY package.json package-lock.json .npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev
COPY src ./src
COPY --from=build /app/dist ./dist

USER node
EXPOSE 4000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]

# There is no redis-server in this image: REDIS_URL must name one, and API_TOKENS_FILE the tokens.
# The flags are those of `npm start` (docs/decisions/0024-cap-the-young-generation.md).
CMD ["node", "--max-semi-space-size=16", "--heap-growing-percent=100", "src/main.ts"]
