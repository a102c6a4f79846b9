// Only `npm run bench` installs these, and types must be checked without them too.
declare module "fastify";
declare module "mercurius";
