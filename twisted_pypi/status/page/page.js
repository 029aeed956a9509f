"use strict";
(() => {
  const KEY = "pypicache-admin-token", INTERVAL = INTERVAL_SECONDS * 1000;
  const at = (id) => document.getElementById(id);
  const token = () => { try { return sessionStorage.getItem(KEY) || ""; } catch { return ""; } };
  const headers = () => (token() ? { "X-Admin-Token": token() } : {});
  const tell = (text) => { at("told").textContent = text; };
  let query = at("q").value, latest = 0;

  const show = (root) => root.querySelectorAll(".needs-script").forEach((each) => { each.hidden = false; });

  // The page itself is asked for again, and its parts take the place of those that are shown: there is one template.
  const refresh = async () => {
    const number = ++latest;
    const answer = await fetch("./" + (query ? "?q=" + encodeURIComponent(query) : ""), { headers: headers(), cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText || String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (number !== latest) return;
    at("main").dataset.admin = fresh.getElementById("main").dataset.admin;
    document.querySelectorAll("[data-live]").forEach((old) => {
      const now = fresh.getElementById(old.id);
      if (!now) return;
      const open = [...old.querySelectorAll("details[open]")].map((each) => each.dataset.keep);
      now.querySelectorAll("details").forEach((each) => { each.open = open.includes(each.dataset.keep); });
      show(now);
      if (old.innerHTML === now.innerHTML || (old.id !== "found" && busy(old))) return;
      const focus = old.contains(document.activeElement) && document.activeElement.dataset.drop;
      old.replaceChildren(...now.childNodes);
      if (focus) [...old.querySelectorAll("[data-drop]")].find((each) => each.dataset.drop === focus)?.focus();
    });
  };
  // Whoever reads a part with the keyboard or has marked something in it, keeps it.
  const busy = (part) => {
    const marked = getSelection();
    return part.contains(document.activeElement) || (!marked.isCollapsed && marked.containsNode(part, true));
  };

  const search = async (event) => {
    event.preventDefault();
    query = at("q").value.trim();
    tell("Searching …");
    try {
      await refresh();
      const count = at("found").querySelectorAll("tbody tr").length;
      tell(query ? count + (count === 1 ? " entry" : " entries") : "");
    } catch (error) { tell("The search failed: " + error.message); }
  };

  const drop = async (name) => {
    if (!confirm("Drop " + name + " from the cache, with its files? It is fetched again when somebody asks for it.")) return;
    try {
      const answer = await fetch("cache/" + encodeURIComponent(name) + "?files=1", { method: "DELETE", headers: { Accept: "application/json", ...headers() } });
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Error(said.detail || answer.statusText);
      await refresh();
      tell(name + " was dropped.");
    } catch (error) { tell(name + " was not dropped: " + error.message); }
  };

  const useToken = async (value) => {
    try { value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY); } catch { /* kept nowhere then */ }
    try {
      await refresh();
      const admin = at("main").dataset.admin === "yes";
      if (value && !admin) sessionStorage.removeItem(KEY);
      tell(value ? (admin ? "The token is in use." : "This is not the admin token.") : "The token is forgotten.");
    } catch (error) { tell("That failed: " + error.message); }
  };

  show(document);
  at("search-form").addEventListener("submit", search);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.drop !== undefined) await drop(button.dataset.drop);
    if (button.id === "forget") await useToken("");
    if (button.classList.contains("copy")) {
      const text = button.parentElement.querySelector("pre");
      try {
        await navigator.clipboard.writeText(text.textContent);
      } catch { // only https and localhost have a clipboard
        getSelection().selectAllChildren(text);
        document.execCommand("copy");
      }
      button.firstChild.data = "Copied";
      setTimeout(() => { button.firstChild.data = "Copy"; }, 2000);
    }
  });
  at("token-form")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = at("token").value;
    at("token").value = "";
    if (value) await useToken(value);
  });
  if (token()) refresh().catch(() => {});
  setInterval(() => { if (at("refresh").checked && !document.hidden) refresh().catch(() => {}); }, INTERVAL);
})();
