import { useEffect, useState } from "preact/hooks";

/** What a component reads while it is shown, such as a subscription. */
export interface Feed {
  stop(): void;
}

/** Opens a feed when the component is shown, and another one when an input changes; null until the first is open. */
export function useFeed<F extends Feed>(open: () => F, inputs: readonly unknown[]): F | null {
  const [feed, setFeed] = useState<F | null>(null);
  useEffect(() => {
    const opened = open();
    setFeed(opened);
    return () => opened.stop();
  }, inputs);
  return feed;
}
