/** A part of a text: what is a link on the web has an address. */
export interface TextPart {
  readonly text: string;
  readonly href: string | null;
}

/** Without the sign that ends a sentence. */
const address = /https?:\/\/[^\s<>"]*[^\s<>".,;:!?)\]]/g;

/** The parts of a text that a person wrote, so that a runbook in it is a click away. No other kind of address is a link. */
export function textParts(text: string): readonly TextPart[] {
  const parts: TextPart[] = [];
  let end = 0;
  for (const { 0: href, index } of text.matchAll(address)) {
    if (index > end) parts.push({ text: text.slice(end, index), href: null });
    parts.push({ text: href, href });
    end = index + href.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end), href: null });
  return parts;
}
