import { useSignal } from "@preact/signals";
import { AlertsPage } from "./alerts/alerts-page.tsx";
import { Announcements } from "./announcements.tsx";
import { Banner } from "./banner.tsx";
import { frozenSince, togglePause } from "./clock.ts";
import { Header } from "./header.tsx";
import { Help } from "./help.tsx";
import { useKeys } from "./keys.ts";
import { Overview } from "./overview/overview.tsx";
import { Outages } from "./parts/outages.tsx";
import { QueuePage } from "./queue/queue-page.tsx";
import { navigate, params, route } from "./route.ts";
import { nextTheme } from "./theme.ts";
import { isTokenNeeded } from "./token.ts";
import { TokenForm } from "./token-form.tsx";

/** The page of the address, between what all pages have. */
export function App() {
  const isHelpOpen = useSignal(false);
  useKeys({
    "?"() {
      isHelpOpen.value = true;
      return true;
    },
    t() {
      nextTheme();
      return true;
    },
    "/"() {
      // It has its own, which keeps what is chosen there.
      if (route.value.page === "overview") return false;
      navigate({ page: "overview" });
      requestAnimationFrame(() => document.querySelector<HTMLElement>("input[name=q]")?.focus());
      return true;
    },
    p() {
      togglePause();
      return true;
    },
  });
  const isTv = route.value.page === "overview" && params.value.has("tv");
  return (
    <div
      class="app"
      data-frozen={frozenSince.value === null ? undefined : ""}
      data-view={isTv ? "tv" : undefined}
    >
      <Header isHelpOpen={isHelpOpen} />
      {isTokenNeeded.value ? (
        <TokenForm />
      ) : (
        <>
          <Banner />
          <Outages />
          <Page />
        </>
      )}
      <Help isOpen={isHelpOpen} />
      <Announcements />
    </div>
  );
}

function Page() {
  const current = route.value;
  switch (current.page) {
    case "overview":
      return <Overview />;
    case "queue":
      return <QueuePage key={current.queue} queue={current.queue} />;
    case "alerts":
      return <AlertsPage />;
  }
}
