// The README's picture: while `npm run demo` runs, `node script/screenshot.ts [URL]` writes docs/graphiql.png.
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { openGraphiQL, startBrowser, untilTrue } from "../test/support/browser.ts";
import { demoPlans } from "./demo-model.ts";

const url = process.argv[2] ?? "http://127.0.0.1:4000";
const picture = join(import.meta.dirname, "../docs/graphiql.png");

const browser = await startBrowser();
try {
  const { page, goTo, press } = await openGraphiQL(browser, url, { width: 1200, height: 800 });
  await goTo("Watch");
  await press();
  // Not the first push, which also has the queue that is not there; of the others, one in which all of the demo's wait.
  const shown = JSON.stringify(demoPlans.map(({ queue }) => queue));
  await untilTrue(
    page,
    `(() => {
      const answer = document.querySelector(".result-window").textContent;
      return !/"example"|"EMPTY"/.test(answer) && ${shown}.every((queue) => answer.includes(queue));
    })()`,
    300_000,
  );
  // The pointer would leave the button it has pressed in another colour.
  await page.mouse.move(900, 700);
  await mkdir(dirname(picture), { recursive: true });
  await page.screenshot({ path: picture });
  console.log(picture);
} finally {
  await browser.close();
}
