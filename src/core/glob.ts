/** Whether a name is what a glob says: `*` stands for any text, also none, `?` for one character, all else for itself. */
export function matchesGlob(glob: string, name: string): boolean {
  return createGlob(glob)(name);
}

/** The same for many names. Takes at most some microseconds for each, whatever the glob and the name are. */
export function createGlob(glob: string): (name: string) => boolean {
  return glob.includes("?") ? createAutomaton(glob) : createStarGlob(glob);
}

function createStarGlob(glob: string): (name: string) => boolean {
  const [start = "", ...parts] = glob.split("*");
  const end = parts.pop();
  if (end === undefined) return (name) => name === start;
  return (name) => {
    if (name.length < start.length + end.length || !name.startsWith(start) || !name.endsWith(end))
      return false;
    let at = start.length;
    for (const part of parts) {
      const found = name.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at <= name.length - end.length;
  };
}

const bitsPerWord = 32;

/**
 * A nondeterministic automaton whose states are bits (Shift-And, Baeza-Yates and Gonnet 1992): state `i` has read `i` characters of
 * the glob, and each character of a name moves all states at once. Trying again from each character would take a name of 200
 * characters a hundred times as long.
 */
function createAutomaton(glob: string): (name: string) => boolean {
  const characters = [...glob];
  const wanted = characters.filter((each) => each !== "*");
  const words = Math.ceil((wanted.length + 1) / bitsPerWord);
  const setBit = (bits: Uint32Array, i: number) => {
    const word = Math.floor(i / bitsPerWord);
    bits[word] = (bits[word] ?? 0) | (1 << (i % bitsPerWord));
  };
  /** States in which a star takes any character. */
  const stays = new Uint32Array(words);
  /** States that a character leads to, of those that may come next. */
  const others = new Uint32Array(words);
  const byCharacter = new Map<string, Uint32Array>(wanted.map((each) => [each, new Uint32Array(words)]));
  let state = 0;
  for (const each of characters) {
    if (each !== "*") state++;
    if (each === "*") setBit(stays, state);
    else if (each === "?") for (const bits of [others, ...byCharacter.values()]) setBit(bits, state);
    else setBit(byCharacter.get(each) ?? others, state);
  }

  return (name) => {
    const states = new Uint32Array(words);
    states[0] = 1;
    for (const character of name) {
      const leads = byCharacter.get(character) ?? others;
      let carry = 0;
      let alive = 0;
      for (let i = 0; i < words; i++) {
        const before = states[i] ?? 0;
        const next = (((before << 1) | carry) & (leads[i] ?? 0)) | (before & (stays[i] ?? 0));
        carry = before >>> (bitsPerWord - 1);
        states[i] = next;
        alive |= next;
      }
      if (alive === 0) return false;
    }
    return ((states[words - 1] ?? 0) & (1 << (wanted.length % bitsPerWord))) !== 0;
  };
}
