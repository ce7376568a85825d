"use strict";
const filter = document.getElementById("filter");
const notice = document.getElementById("notice");
const csrf = document.querySelector("meta[name=csrf]").content;
let quiet;
let typed;
let shown = "";

function tell(text) {
  notice.textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => { notice.textContent = ""; }, 6000);
}

function turn(query) {
  history.replaceState(null, "", `/admin/${query}`);
  return refresh();
}

function age(seconds) {
  const [, divisor, unit] = [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"], [Infinity, 86400, "d"]]
    .find(([limit]) => seconds < limit);
  return `${Math.floor(seconds / divisor)} ${unit}`;
}

function grow(now) {
  for (const time of document.querySelectorAll("time")) {
    time.textContent = age(Math.max(0, Math.round(now - time.dataset.at)));
  }
}

function place(element) {
  if (element?.form?.id === "act") { return `button[value="${CSS.escape(element.value)}"]`; }
  return element?.closest("#overview, #list") && element.hasAttribute("href")
    ? `a[href="${CSS.escape(element.getAttribute("href"))}"]` : null;
}

function show(html, etag) {
  const focused = place(document.activeElement);
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  for (const id of ["overview", "list"]) {
    document.getElementById(id).replaceChildren(...fresh.content.getElementById(id).childNodes);
  }
  shown = etag;
  if (focused) { document.querySelector(focused)?.focus(); }
}

async function refresh() {
  try {
    const response = await fetch(`/admin/live${location.search}`, { cache: "no-store", headers: { "If-None-Match": shown } });
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
  const { name: action, value: repository } = button;
  button.disabled = true;
  const path = repository.split("/").map(encodeURIComponent).join("/");
  const response = await fetch(`/admin/repositories/${path}/${action}`, {
    method: "POST", headers: { "X-CSRF-Token": csrf },
  });
  tell(response.ok ? `${action} of ${repository} has begun` : await response.text());
  await refresh();
}

function choose() {
  const words = new URLSearchParams(location.search);
  for (const name of ["name", "state", "host"]) {
    const value = filter.elements[name].value.trim();
    if (value) { words.set(name, value); } else { words.delete(name); }
  }
  words.delete("first");
  return turn(words.size ? `?${words}` : "");
}

document.querySelector("main").addEventListener("click", (event) => {
  const button = event.target.closest("button[form=act]");
  const link = event.target.closest("a[data-turn]");
  if (button) { event.preventDefault(); act(button).catch((error) => tell(error.message)); }
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) { return; }
  event.preventDefault();
  const chosen = new URL(link.href).searchParams;
  for (const name of ["name", "state", "host"]) { filter.elements[name].value = chosen.get(name) ?? ""; }
  turn(link.search);
});
filter.addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(choose, 200); });
filter.addEventListener("submit", (event) => { event.preventDefault(); choose(); });
setInterval(() => { if (!document.hidden) { refresh(); } }, 5000);
