import { textParts } from "../format/text-parts.ts";

/** A text in which addresses are links. The browser sends no referrer and no opener to the page behind one. */
export function LinkedText({ text }: { readonly text: string }) {
  return textParts(text).map(({ text: part, href }, i) =>
    href === null ? (
      part
    ) : (
      <a key={i} href={href} target="_blank" rel="noopener noreferrer">
        {part}
      </a>
    ),
  );
}
