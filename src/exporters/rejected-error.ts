/** The collector answered a request, and did not accept all of its metrics. Another request may be accepted. */
export class RejectedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "RejectedError";
  }
}
