import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { ofBrowser } from "../browser-storage.ts";
import { isServerTimeKnown, serverNowMs } from "../clock.ts";
import { hrefOf } from "../route.ts";
import { type Alert, alertList } from "./alert-feed.ts";
import { type AlertNotification, notificationsOf } from "./notification.ts";
import { alertsToNotify, maxNotifiedAgeMs } from "./notification-choice.ts";

const notifyKey = "queue-latency:notify";
const soundKey = "queue-latency:sound";
const shownKey = "queue-latency:notified";
/** As many as the list of alerts has of each state. */
const maxShown = 1_000;

const notify = signal(ofBrowser.read(notifyKey) === "on");
const sound = signal(ofBrowser.read(soundKey) === "on");

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
  ofBrowser.write(notifyKey, isOn ? "on" : "off");
  notify.value = isOn;
  return null;
}

/** Rings once, so that the user knows the sound. */
export function setRinging(isOn: boolean): void {
  ofBrowser.write(soundKey, isOn ? "on" : "off");
  sound.value = isOn;
  if (isOn) ring();
}

const wasUsed = signal(navigator.userActivation?.hasBeenActive ?? true);
if (!wasUsed.value) {
  for (const type of ["pointerdown", "keydown"])
    addEventListener(type, () => (wasUsed.value = true), { once: true });
}

/** Whether the page is to ring, and browsers do not let it before it is clicked on, or a key is pressed. */
export const isSoundBlocked: ReadonlySignal<boolean> = computed(() => sound.value && !wasUsed.value);

/** Shows each alert that fires once, in one of the tabs. @returns what ends it. */
export function startNotifications(): () => void {
  return effect(() => {
    const { active } = alertList.value;
    if (!notify.value && !sound.value) return;
    // By the clock of this browser an alert of an hour ago may be new.
    if (!isServerTimeKnown.value) return;
    const shown = new Set([...readShown(), ...claimed]);
    for (const alert of alertsToNotify(active, shown, serverNowMs())) void claim(alert);
  });
}

/** Ids of the alerts of this tab. */
const claimed = new Set<string>();
/** Alerts that fire within this time are shown together. */
const togetherMs = 300;
let fired: Alert[] = [];

/**
 * Shows an alert in one tab of this browser: that which gets the lock of the alert. The lock is kept for as long as another tab might come
 * to the same alert, since what one tab writes to `localStorage` another one may read a moment later.
 */
async function claim(alert: Alert): Promise<void> {
  const act = () => {
    claimed.add(alert.id);
    ofBrowser.write(shownKey, JSON.stringify([alert.id, ...readShown()].slice(0, maxShown)));
    fired.push(alert);
    if (fired.length === 1) setTimeout(showFired, togetherMs);
  };
  // Without HTTPS there are no locks, and no notifications.
  if (!("locks" in navigator)) return act();
  const { id } = alert;
  await navigator.locks.request(`queue-latency:alert:${id}`, { ifAvailable: true }, async (lock) => {
    if (lock === null) return;
    act();
    await new Promise((resolve) => setTimeout(resolve, maxNotifiedAgeMs));
  });
}

function showFired(): void {
  const alerts = fired;
  fired = [];
  if (notify.peek()) for (const notification of notificationsOf(alerts)) show(notification);
  if (sound.peek()) ring();
}

function readShown(): readonly string[] {
  try {
    const stored: unknown = JSON.parse(ofBrowser.read(shownKey) ?? "[]");
    return Array.isArray(stored) ? stored.map(String) : [];
  } catch {
    return [];
  }
}

/** A notification with the same tag replaces the one before. */
function show({ title, body, tag }: AlertNotification): void {
  const notification = new Notification(title, { body, tag });
  notification.addEventListener("click", () => {
    window.focus();
    location.assign(hrefOf({ page: "alerts" }));
  });
}

/** Two short tones; no file is loaded. */
function ring(): void {
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
