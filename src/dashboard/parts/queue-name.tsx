/** The name of a queue, apart from the text around it: one that is written from right to left does not turn that round. */
export function QueueName({ queue }: { readonly queue: string }) {
  return <bdi class="name">{queue}</bdi>;
}
