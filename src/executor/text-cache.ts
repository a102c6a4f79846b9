/** Keeps texts that were made of objects, for as long as they are in use. */
export interface TextCache {
  get(object: object, key: string): string | undefined;
  set(object: object, key: string, text: string): void;
}

/**
 * Texts live in the generation in which they were made and the next one, each of `maxTexts`. A WeakMap takes V8 five times as long
 * for objects that live for a moment.
 */
export function createTextCache(maxTexts: number): TextCache {
  let current = new Map<object, Map<string, string>>();
  let previous = new Map<object, Map<string, string>>();
  let count = 0;
  return {
    get: (object, key) => current.get(object)?.get(key) ?? previous.get(object)?.get(key),
    set(object, key, text) {
      if (count === maxTexts) {
        previous = current;
        current = new Map();
        count = 0;
      }
      const texts = current.get(object);
      if (texts === undefined) current.set(object, new Map([[key, text]]));
      else texts.set(key, text);
      count += 1;
    },
  };
}
