declare module "cluster-key-slot" {
  /** The slot of a Redis Cluster that a key is in. */
  function slotOf(key: string): number;

  export = slotOf;
}
