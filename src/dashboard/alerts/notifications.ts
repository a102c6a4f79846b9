import { effect, type ReadonlySignal, signal } from "@preact/signals";
import { hrefOf } from "../route.ts";
import { type Alert, alertList } from "./alert-feed.ts";
import { explainCondition } from "./explain-alert.ts";
import { alertsToNotify, maxNotifiedAgeMs } from "./notification-choice.ts";

const notifyKey = "queue-latency:notify";
const soundKey = "queue-latency:sound";
const shownKey = "queue-latency:notified";
/** More than can fire at once and be looked at. */
const maxShown = 200;

const notify = signal(localStorage.getItem(notifyKey) === "on");
const sound = signal(localStorage.getItem(soundKey) === "on");

/** Whether firing alerts show a notification of the desktop, and ring; both off until the user asks for them. */
export const isNotifying: ReadonlySignal<boolean> = notify;
export const isRinging: ReadonlySignal<boolean> = sound;

/** Why this browser shows no notifications; null when it can. */
function whyNoNotifications(): string | null {
  if (!("Notification" in window))
    return "This browser has no notifications for this address: they need HTTPS, or localhost.";
  if (Notification.permission !== "denied") return null;
  return "This browser does not allow notifications of this page. Allow them in the settings of the site.";
}

/** Asks the user for the permission where that is needed. @returns why it stays off; null: it is as asked. */
export async function setNotifying(isOn: boolean): Promise<string | null> {
  if (isOn) {
    const reason = whyNoNotifications();
    if (reason !== null) return reason;
    if ((await Notification.requestPermission()) !== "granted")
      return whyNoNotifications() ?? "The permission was not given.";
  }
  localStorage.setItem(notifyKey, isOn ? "on" : "off");
  notify.value = isOn;
  return null;
}

/** Rings once, so that the user knows the sound, and so that the browser lets the page ring later. */
export function setRinging(isOn: boolean): void {
  localStorage.setItem(soundKey, isOn ? "on" : "off");
  sound.value = isOn;
  if (isOn) ring();
}

/** Shows each alert that fires once, in one of the tabs. @returns what ends it. */
export function startNotifications(): () => void {
  return effect(() => {
    const { active } = alertList.value;
    if (!notify.value && !sound.value) return;
    for (const alert of alertsToNotify(active, new Set(readShown()), Date.now())) {
      void claim(alert.id, () => {
        if (notify.peek()) show(alert);
        if (sound.peek()) ring();
      });
    }
  });
}

/**
 * Runs an action in one tab of this browser: that which gets the lock of the alert. The lock is kept for as long as another tab might come
 * to the same alert, since what one tab writes to `localStorage` another one may read a moment later.
 */
async function claim(id: string, action: () => void): Promise<void> {
  const act = () => {
    localStorage.setItem(shownKey, JSON.stringify([id, ...readShown()].slice(0, maxShown)));
    action();
  };
  // Without HTTPS there are no locks, and no notifications.
  if (!("locks" in navigator)) return act();
  await navigator.locks.request(`queue-latency:alert:${id}`, { ifAvailable: true }, async (lock) => {
    if (lock === null) return;
    act();
    await new Promise((resolve) => setTimeout(resolve, maxNotifiedAgeMs));
  });
}

function readShown(): readonly string[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(shownKey) ?? "[]");
    return Array.isArray(stored) ? stored.map(String) : [];
  } catch {
    return [];
  }
}

/** A notification with the same tag replaces the one before. */
function show(alert: Alert): void {
  const summary = alert.annotations.find(({ name }) => name === "summary")?.text;
  const notification = new Notification(`${alert.rule}${alert.queue === null ? "" : `: ${alert.queue}`}`, {
    body: [summary, explainCondition(alert)].filter((line) => line !== undefined).join("\n"),
    tag: alert.id,
  });
  notification.addEventListener("click", () => {
    window.focus();
    location.assign(hrefOf({ page: "alerts" }));
  });
}

/** Several alerts at once ring once. */
const ringEveryMs = 1_000;
let rangMs = Number.NEGATIVE_INFINITY;

/** Two short tones; no file is loaded. */
function ring(): void {
  if (performance.now() - rangMs < ringEveryMs) return;
  rangMs = performance.now();
  const context = new AudioContext();
  const gain = context.createGain();
  gain.gain.value = 0.1;
  gain.connect(context.destination);
  for (const [i, frequency] of [880, 660].entries()) {
    const tone = context.createOscillator();
    tone.frequency.value = frequency;
    tone.connect(gain);
    tone.start(context.currentTime + i * 0.2);
    tone.stop(context.currentTime + i * 0.2 + 0.15);
  }
  setTimeout(() => void context.close(), 1_000);
}
