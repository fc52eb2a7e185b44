// The page of `strata explain` for many store paths, in a real browser: page-speed.mjs PLAYWRIGHT PAGE.html TEXT prints the time of the
// first paint, of a search for TEXT, of the choice of the store path that was found, and the memory. dev/bench large calls it.
const [playwright, file, text] = process.argv.slice(2);
const { chromium } = await import(playwright);
const flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update"];
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });
const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
await page.goto(`file://${file}`);
await page.waitForSelector(".path");
const paint = await page.evaluate(() => new Promise(resolve => new PerformanceObserver(list => resolve(list.getEntries().at(-1).startTime)).observe({ type: "paint", buffered: true })));
// Until the frame after the event is drawn.
const timed = (name, value) => page.evaluate(([name, value]) => new Promise(resolve => {
  const search = document.getElementById("search"), begun = performance.now();
  if (name === "input") {
    search.value = value;
    search.dispatchEvent(new Event("input", { bubbles: true }));
  } else search.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - begun)));
}), [name, value]);
const searched = await timed("input", text);
const count = await page.locator("#count").innerText();
const chosen = await timed("keydown");
const client = await page.context().newCDPSession(page);
await client.send("Performance.enable");
const { metrics } = await client.send("Performance.getMetrics");
const metric = name => metrics.find(metric => metric.name === name).value;
console.log(`first paint ${Math.round(paint)} ms, search ${Math.round(searched)} ms (${count}), choice ${Math.round(chosen)} ms, heap ${Math.round(metric("JSHeapUsedSize") / 1e6)} MB, ${metric("Nodes")} nodes`);
await browser.close();
