import { useSignal } from "@preact/signals";
import { isNotifying, isRinging, setNotifying, setRinging } from "./notifications.ts";

/** Notifications of the desktop and a sound, for this browser. */
export function NotificationSettings() {
  const problem = useSignal<string | null>(null);
  return (
    <fieldset class="notification-settings">
      <legend>In this browser, when an alert fires</legend>
      <label>
        <input
          type="checkbox"
          checked={isNotifying.value}
          onChange={async (event) => {
            const box = event.currentTarget;
            problem.value = await setNotifying(box.checked);
            box.checked = isNotifying.value;
          }}
        />
        show a notification
      </label>
      <label>
        <input
          type="checkbox"
          checked={isRinging.value}
          onChange={(event) => setRinging(event.currentTarget.checked)}
        />
        ring
      </label>
      {problem.value !== null && <p role="alert">{problem.value}</p>}
    </fieldset>
  );
}
