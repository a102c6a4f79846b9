import { useSignal } from "@preact/signals";
import { storedToken, storeToken } from "./token.ts";

/** Asks for a token. It is kept for this tab only. */
export function TokenForm() {
  const token = useSignal("");
  const wasRefused = storedToken() !== null;
  const isForgotten = useSignal(false);
  return (
    <main class="token">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (token.value.trim() !== "") isForgotten.value = !storeToken(token.value.trim());
        }}
      >
        <h1>This server needs a token</h1>
        {wasRefused && <p role="alert">The token was refused: it is unknown, or was revoked.</p>}
        {isForgotten.value && (
          <p role="alert">
            This browser keeps nothing for the page. Allow cookies and site data for this address, and enter
            the token again.
          </p>
        )}
        <label for="token">Token</label>
        <input
          id="token"
          type="password"
          autocomplete="off"
          spellcheck={false}
          value={token}
          onInput={(event) => {
            token.value = event.currentTarget.value;
          }}
        />
        <p class="hint">
          It needs the scope <code>read</code>; with <code>admin</code> it also removes jobs and acknowledges
          alerts. It is kept until this tab is closed. <code>npm run token -- dashboard read</code> makes one
          on the server.
        </p>
        <button type="submit" class="primary">
          Use token
        </button>
      </form>
    </main>
  );
}
