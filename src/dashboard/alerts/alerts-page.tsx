/** Alerts that are pending and firing, and those that ended. */
export function AlertsPage() {
  return (
    <main>
      <h1>Alerts</h1>
    </main>
  );
}
