"use strict";
const live = document.getElementById("live");
const filter = document.getElementById("filter");
const notice = document.getElementById("notice");
const csrf = document.querySelector("meta[name=csrf]").content;
let quiet;
let shown = "";

function tell(text) {
  notice.textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => { notice.textContent = ""; }, 6000);
}

let first = new URLSearchParams(location.search).get("first") || "0";
let typed;

function query() {
  const words = new URLSearchParams();
  if (filter.value.trim()) { words.set("name", filter.value.trim()); }
  if (first !== "0") { words.set("first", first); }
  return words.size ? `?${words}` : "";
}

function turn(to) {
  first = to;
  history.replaceState(null, "", `/admin/${query()}`);
  return refresh();
}

function age(seconds) {
  const [, divisor, unit] = [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"], [Infinity, 86400, "d"]]
    .find(([limit]) => seconds < limit);
  return `${Math.floor(seconds / divisor)} ${unit}`;
}

function grow(now) {
  for (const time of live.querySelectorAll("time")) {
    time.textContent = age(Math.max(0, Math.round(now - time.dataset.at)));
  }
}

function place(element) {
  return element && element.dataset && element.dataset.action
    ? `button[data-action="${CSS.escape(element.dataset.action)}"][data-repository="${CSS.escape(element.dataset.repository)}"]`
    : null;
}

function show(html, etag) {
  const focused = place(document.activeElement);
  live.innerHTML = html;
  shown = etag;
  if (focused) { live.querySelector(focused)?.focus(); }
}

async function refresh() {
  try {
    const response = await fetch(`/admin/live${query()}`, { cache: "no-store", headers: { "If-None-Match": shown } });
    if (response.status === 401) { location.assign("/admin/login"); return; }
    const unchanged = response.status === 304;
    if (!response.ok && !unchanged) { throw new Error(await response.text()); }
    if (!unchanged) { show(await response.text(), response.headers.get("ETag")); }
    grow(Date.parse(response.headers.get("Date")) / 1000);
  } catch (error) {
    tell(`The server does not answer: ${error.message}`);
  }
}

async function act(button) {
  const { action, repository } = button.dataset;
  if (action === "forget" && !confirm(`Remove the mirror of ${repository}?`)) { return; }
  button.disabled = true;
  // A repository's name is percent-encoded already.
  const response = await fetch(`/admin/repositories/${repository}/${action}`, {
    method: "POST", headers: { "X-CSRF-Token": csrf },
  });
  tell(response.ok ? `${action} of ${repository} has begun` : await response.text());
  await refresh();
}

live.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action]");
  if (button) { act(button).catch((error) => tell(error.message)); }
});
live.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-first]");
  if (link) { event.preventDefault(); turn(link.dataset.first); }
});
filter.addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(() => turn("0"), 200); });
document.getElementById("logout")?.addEventListener("click", async () => {
  await fetch("/admin/logout", { method: "POST", headers: { "X-CSRF-Token": csrf } });
  location.assign("/admin/login");
});
setInterval(() => { if (!document.hidden) { refresh(); } }, 5000);
