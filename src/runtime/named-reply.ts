/**
 * What a Lua script returned as `{map = {...}}`, by its names. Redis sends that as a flat list of names and values, in any order, over
 * a connection that speaks RESP2, and leaves out what is nil.
 *
 * @throws Error when it is something else.
 */
export function namedReply<Reply extends object>(reply: unknown): Reply {
  if (!Array.isArray(reply)) throw new Error(`expected names and values, got ${JSON.stringify(reply)}`);
  const named: Record<string, unknown> = {};
  for (let i = 0; i < reply.length; i += 2) named[reply[i]] = reply[i + 1];
  return named as Reply;
}
