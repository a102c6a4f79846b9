/** The documents of the operator's own clients: where there are some, no others run. */
export interface TrustedDocuments {
  /** Texts by the hash or id that clients send in their place. */
  readonly byId: ReadonlyMap<string, string>;
  readonly texts: ReadonlySet<string>;
}
