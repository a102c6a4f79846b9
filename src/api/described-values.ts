/** The values of an enum, each with its description. */
export function describedValues<T extends string>(
  names: readonly T[],
  descriptions: Readonly<Record<T, string>>,
): Record<T, { readonly description: string }> {
  return Object.fromEntries(names.map((name) => [name, { description: descriptions[name] }])) as Record<
    T,
    { readonly description: string }
  >;
}
