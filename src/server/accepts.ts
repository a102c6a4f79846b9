/** Whether a request takes an answer of one of the media types. Read as Yoga reads it: without weights, and UTF-8 only. */
export function accepts({ headers }: Request, ...mediaTypes: readonly string[]): boolean {
  const ranges = (headers.get("accept") || "*/*").replace(/\s/g, "").toLowerCase().split(",");
  return ranges.some((each) => {
    const [range = "", ...parameters] = each.split(";");
    const charset = parameters.find((parameter) => parameter.includes("charset="));
    if (charset !== undefined && charset !== "charset=utf-8") return false;
    const [type, subtype] = range.split("/");
    return mediaTypes.some((mediaType) => {
      const [offeredType, offeredSubtype] = mediaType.split("/");
      return (type === "*" || type === offeredType) && (subtype === "*" || subtype === offeredSubtype);
    });
  });
}
