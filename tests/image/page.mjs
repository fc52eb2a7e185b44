// The page of `strata explain` in a real browser: page.mjs PLAYWRIGHT MANY.html UNKNOWN.html SCREENSHOTS
//
// MANY has thousands of store paths, of which one is needle-in-the-hay; UNKNOWN is of an image without references.
import assert from "node:assert/strict";

const [playwright, many, unknown, shots] = process.argv.slice(2);
const { chromium } = await import(playwright);
// As root in a container there is no sandbox to be had, and no network to ask for updates.
const flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });

async function open(file, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
  const errors = [];
  page.on("console", message => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", error => errors.push(String(error)));
  page.on("request", request => !/^(file|data):/.test(request.url()) && errors.push(`asks for ${request.url()}`));
  await page.goto(`file://${file}`);
  await page.waitForSelector(".path");
  return { page, errors, shot: name => page.screenshot({ path: `${shots}/${name}.png` }) };
}
const title = page => page.locator("#detail h2").innerText();

{
  const { page, errors, shot } = await open(many);
  await shot("many");

  // Every box can be clicked where it is drawn.
  const missed = await page.evaluate(() => {
    const boxes = [...document.querySelectorAll(".path")];
    const missed = boxes.filter(box => {
      const { x, y, width, height } = box.getBoundingClientRect();
      return document.elementFromPoint(x + width / 2, y + height / 2)?.closest(".path") !== box;
    });
    return { all: boxes.length, missed: missed.length };
  });
  assert.ok(missed.all > 5000, `${missed.all} boxes`);
  assert.equal(missed.missed, 0, `${missed.missed} boxes are not where they are drawn`);
  const smallest = await page.evaluate(() => {
    const boxes = [...document.querySelectorAll(".path")].map(box => [box.getBoundingClientRect(), box.getAttribute("aria-label")]);
    const [{ x, y, width, height }, name] = boxes.sort(([one], [two]) => one.width * one.height - two.width * two.height)[0];
    return { x: x + width / 2, y: y + height / 2, name };
  });
  await page.mouse.click(smallest.x, smallest.y);
  assert.equal(await title(page), smallest.name);

  // Areas are what the note below the map says.
  assert.match(await page.locator("main + p").innerText(), /^The size decides 70 % of a box's area\. The rest is the same for all boxes/);
  const worst = await page.evaluate(() => {
    const map = document.getElementById("map"), whole = map.clientWidth * map.clientHeight;
    const count = items.reduce((sum, item) => sum + item.paths.length, 0);
    const size = item => item.paths.reduce((sum, entry) => sum + entry.size, 0);
    const total = items.reduce((sum, item) => sum + size(item), 0);
    const shares = [...document.querySelectorAll(".layer")].map(box => parseFloat(box.style.width) * parseFloat(box.style.height) / whole);
    const expected = items.map(item => 0.7 * size(item) / total + 0.3 * item.paths.length / count);
    const sorted = numbers => numbers.sort((one, two) => one - two);
    return Math.max(...sorted(shares).map((share, at) => Math.abs(share / sorted(expected)[at] - 1)));
  });
  assert.ok(worst < 0.001, `a layer's area is ${worst} off`);

  // Search counts, lists, and goes to what was found.
  await page.fill("#search", "package1");
  const count = await page.locator("#count").innerText();
  assert.match(count, /^\d+ of 600\d$/);
  assert.equal(await page.locator(".path.hit").count(), Number(count.split(" ")[0]));
  await page.fill("#search", "NEEDLE");
  assert.equal(await page.locator("#count").innerText(), "1 of 6001");
  assert.deepEqual(await page.locator("#found li").allInnerTexts(), ["needle-in-the-hay-7.1"]);
  await shot("search");
  await page.press("#search", "Enter");
  assert.equal(await title(page), "needle-in-the-hay-7.1");
  assert.equal(await page.locator(".path.chosen").getAttribute("aria-label"), "needle-in-the-hay-7.1");
  await page.fill("#search", "package12");
  await page.press("#search", "Enter");
  const first = await title(page);
  await page.press("#search", "Enter");
  assert.notEqual(await title(page), first);
  assert.match(await page.locator("#count").innerText(), /^2 of \d+$/);
  await page.press("#search", "Shift+Enter");
  assert.equal(await title(page), first);
  await page.locator("#found li").nth(2).click();
  assert.match(await title(page), /^package12/);
  assert.ok(await page.locator("#found").isHidden());
  await page.fill("#search", "nothing has this name");
  assert.equal(await page.locator("#count").innerText(), "0 of 6001");
  await page.fill("#search", "");

  // A handful of stops of the tab key lead to the details.
  await page.locator("#search").focus();
  let stops = 0;
  while (!(await page.evaluate(() => document.activeElement.closest("#detail")))) {
    assert.ok(stops++ < 5, "too many stops before the details");
    await page.keyboard.press("Tab");
  }

  // Enter and Space press boxes, buttons and pictures of references; arrows go from box to box.
  for (const key of ["Enter", "Space"]) {
    await page.locator(".path[tabindex='0']").focus();
    await page.keyboard.press("ArrowRight");
    const box = await page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    await page.keyboard.press(key);
    assert.equal(await title(page), box, `${key} on a box`);
    const needed = await page.evaluate(() => [...document.querySelectorAll(".path")].find(box => box.getAttribute("aria-label") === "app-1.0").dataset.path);
    await page.evaluate(path => choose(path), needed);
    const picture = page.locator("#detail svg g[role=button]").first();
    const label = await picture.getAttribute("aria-label");
    await picture.focus();
    await page.keyboard.press(key);
    assert.equal(await title(page), label, `${key} on a picture`);
    const button = page.locator("#detail button").last();
    const name = await button.innerText();
    await button.focus();
    await page.keyboard.press(key);
    assert.equal(await title(page), name, `${key} on a button`);
  }

  // What to cut is there, and its buttons lead to the store paths.
  const cut = page.locator("#cuts button").first();
  const name = await cut.innerText();
  await cut.click();
  assert.equal(await title(page), name);
  // A base's layer is named as its history has it, and not after a path in it.
  assert.ok((await page.locator(".path").evaluateAll(boxes => boxes.map(box => box.getAttribute("aria-label")))).some(label => label.startsWith("RUN /bin/sh -c cp")));
  assert.match(await page.locator("#figures").innerText(), /without 1 layer of unknown store paths/);
  assert.deepEqual(errors, []);
  await page.close();
}

{
  // A narrow screen, and a dark one.
  const { page, errors, shot } = await open(many, { viewport: { width: 360, height: 740 }, colorScheme: "dark", isMobile: true, hasTouch: true });
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.ok(background.match(/\d+/g).every(value => value < 64), `dark is ${background}`);
  await page.locator(".path").nth(7).tap();
  assert.equal(await title(page), await page.locator(".path.chosen").getAttribute("aria-label"));
  await shot("narrow-dark");
  await page.setViewportSize({ width: 740, height: 360 });
  await page.waitForFunction(() => document.querySelector(".layer").parentNode.clientWidth > 600 && [...document.querySelectorAll(".layer")].some(layer => layer.offsetLeft + layer.offsetWidth > 600));
  assert.deepEqual(errors, []);
  await page.close();
}

{
  // Of what is not known nothing is made up.
  const { page, errors, shot } = await open(unknown);
  const text = await page.locator("body").innerText();
  assert.match(text, /unknown/);
  assert.doesNotMatch(text, /\b0 B\b|NaN|undefined|null/);
  await shot("unknown");
  assert.deepEqual(errors, []);
  await page.close();
}
await browser.close();
