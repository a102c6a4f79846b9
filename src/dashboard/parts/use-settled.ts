import { useEffect, useState } from "preact/hooks";

const settleMs = 300;

/** A text as it was when it had not changed for a moment: for what is asked of the server. */
export function useSettled(text: string): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), settleMs);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}
