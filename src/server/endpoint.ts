/** Where GraphQL and GraphiQL are, over HTTP and WebSocket. */
export const endpoint = "/graphql";
