// Asks every two seconds whether the page has changed, and replaces the parts that did. A hidden page asks nothing.
const main = document.querySelector("main");
const said = document.getElementById("said");
const every = 2000;
let version = main.dataset.version, parts = {}, ahead = Date.now() - Date.parse(main.dataset.now), timer;

function say(text, bad) {
  if (said.textContent !== text) said.textContent = text;
  said.className = bad ? "bad" : "";
}

// A page that could not be shown is loaded again, and where that was in vain, each time after twice as long.
const tries = { key: `loaded again: ${location.pathname}`, most: 60000 };
function tried(again) {
  try {
    if (again === undefined) return Number(sessionStorage.getItem(tries.key) || 0);
    sessionStorage.setItem(tries.key, again);
  } catch { return 0; } // a browser that keeps nothing
}
const pause = () => version ? every : Math.min(every * 2 ** tried(), tries.most);

function show({ version: now_version, now, title, parts: now_parts }) {
  if (!version) { // what could not be shown can be
    tried(tried() + 1);
    return location.reload();
  }
  version = now_version;
  ahead = Date.now() - Date.parse(now);
  document.title = title;
  const active = document.activeElement && document.activeElement.id;
  for (const [id, html] of Object.entries(now_parts)) {
    const part = document.getElementById(id);
    if (part && parts[id] !== html) part.innerHTML = html;
    parts[id] = html;
  }
  const again = active && document.getElementById(active);
  if (again && again !== document.activeElement) again.focus();
  count();
}

let away = false;
async function renew() {
  clearTimeout(timer);
  if (!main.dataset.live) return;
  try {
    const answer = await fetch(main.dataset.live, { headers: { "If-None-Match": version }, cache: "no-store", signal: AbortSignal.timeout(60000) });
    if (answer.status !== 304) {
      const document_ = await answer.json();
      if (!answer.ok) throw new Error(document_.reason);
      show(document_);
    }
    if (away) say("");
    away = false;
  } catch (error) {
    away = true;
    say(error instanceof TypeError || error.name === "TimeoutError" ? "The dashboard does not answer; this page goes on when it does." : `${error.message}; this page goes on by itself.`, true);
  }
  main.classList.toggle("stale", away);
  if (!document.hidden) timer = setTimeout(renew, pause());
}

// The same words as the server's.
function words(seconds) {
  const two = (whole, of, unit, below) => `${Math.floor(whole / of)} ${unit}${whole % of ? ` ${whole % of} ${below}` : ""} ago`;
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min ago`;
  return minutes < 2880 ? two(minutes, 60, "h", "min") : two(Math.round(minutes / 60), 24, "d", "h");
}
function count() {
  for (const time of document.querySelectorAll("time[data-age]")) {
    const text = words(Math.max(0, (Date.now() - ahead - Date.parse(time.dateTime)) / 1000));
    if (time.textContent !== text) time.textContent = text;
  }
}

document.addEventListener("submit", async event => {
  event.preventDefault();
  const form = event.target, ask = event.submitter && event.submitter.dataset.confirm;
  if (ask && !confirm(ask)) return;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "application/json" } });
    const { reason, done } = await answer.json();
    say(done || reason, !answer.ok);
    if (answer.ok) form.reset();
  } catch {
    say("The dashboard does not answer; nothing is known to have changed.", true);
  }
  renew();
});
document.addEventListener("visibilitychange", () => document.hidden ? clearTimeout(timer) : renew());
setInterval(count, 1000);
if (version) tried(0);
main.dataset.pause = pause();
if (main.dataset.live) timer = setTimeout(renew, pause());
