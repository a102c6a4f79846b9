/** What a browser keeps for the page: all its tabs, or this tab until it is closed. */
export interface BrowserStorage {
  /** Null also where the browser keeps nothing, as with cookies blocked. */
  read(key: string): string | null;
  /** Null removes the key. @returns whether it is kept. */
  write(key: string, value: string | null): boolean;
}

export const ofBrowser = createStorage(() => localStorage);
export const ofTab = createStorage(() => sessionStorage);

/** @param storage throws where the browser does not allow it. */
function createStorage(storage: () => Storage): BrowserStorage {
  return {
    read(key) {
      try {
        return storage().getItem(key);
      } catch {
        return null;
      }
    },
    write(key, value) {
      try {
        if (value === null) storage().removeItem(key);
        else storage().setItem(key, value);
        return true;
      } catch {
        return false;
      }
    },
  };
}
