import { type SentinelConnectionOptions, SentinelConnector } from "ioredis";
import { serverName } from "./tls-options.ts";

interface Place {
  readonly host: string;
  readonly port: number;
}

/** Methods of ioredis's own that take one Sentinel, and find the master. */
interface Steps {
  connectToSentinel(sentinel: Place, ...rest: unknown[]): unknown;
  resolve(sentinel: Place): Promise<Place | null>;
}

/**
 * Over TLS sends each Sentinel, and the master that it names, their own names (SNI): ioredis has one set of TLS options for all
 * Sentinels and another for the master, whichever that is.
 */
export class NamingSentinelConnector extends SentinelConnector {
  constructor(given: unknown) {
    const options = given as SentinelConnectionOptions;
    super(options);
    const { connectToSentinel, resolve } = SentinelConnector.prototype as unknown as Steps;
    const steps: Steps = {
      connectToSentinel: (sentinel, ...rest) => {
        this.options.sentinelTLS = { ...options.sentinelTLS, ...serverName(sentinel.host) };
        return connectToSentinel.call(this, sentinel, ...rest);
      },
      resolve: async (sentinel) => {
        const master = await resolve.call(this, sentinel);
        return master === null ? null : { ...master, ...serverName(master.host) };
      },
    };
    Object.assign(this, steps);
  }
}
