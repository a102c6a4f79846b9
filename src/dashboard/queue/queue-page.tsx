interface QueuePageProps {
  readonly queue: string;
}

/** One queue. */
export function QueuePage({ queue }: QueuePageProps) {
  return (
    <main>
      <h1>{queue}</h1>
    </main>
  );
}
