/** Whether a name is what a glob says: `*` stands for any text, also none, `?` for one character, all else for itself. */
export function matchesGlob(glob: string, name: string): boolean {
  const wanted = [...glob];
  const given = [...name];
  let at = 0;
  let read = 0;
  /** Behind the last star, and up to where it reaches by now: when the rest does not fit, it takes one more. */
  let behindStar = -1;
  let starReaches = 0;
  while (read < given.length) {
    if (wanted[at] === "*") {
      behindStar = ++at;
      starReaches = read;
    } else if (at < wanted.length && (wanted[at] === "?" || wanted[at] === given[read])) {
      at += 1;
      read += 1;
    } else if (behindStar >= 0) {
      at = behindStar;
      read = ++starReaches;
    } else return false;
  }
  while (wanted[at] === "*") at += 1;
  return at === wanted.length;
}
