/** The source that a script says a queue belongs to, where it refuses the queue for that; null: it is another error. */
export function ownerIn({ message }: Error): string | null {
  return /^(?:ERR )?SOURCE (.*)$/s.exec(message)?.[1] ?? null;
}
