"use strict";
// Follows a run: applies what the server says has changed to the page and to the numbers of its plots.
(() => {
  const GIVE_UP_AFTER = 15;
  const $ = (id) => document.getElementById(id);
  const { plots, changed, watch } = drawing;
  let failures = 0;

  // --- words and tables: elements stay where they are, so that the focus, what is unfolded and what is selected do too.
  const parsed = (text, like) => {
    const shell = document.createElement("template");
    shell.innerHTML = text;
    const found = like.cloneNode(false);
    found.append(shell.content);
    return found;
  };
  const same = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && one.id === other.id;
  const attributes = (element, wanted) => {
    for (const { name } of [...element.attributes]) {
      if (!wanted.hasAttribute(name) && !(name === "open" && element.nodeName === "DETAILS")) element.removeAttribute(name);
    }
    for (const { name, value } of wanted.attributes) {
      if (element.getAttribute(name) !== value) element.setAttribute(name, value);
    }
  };
  const become = (element, wanted) => {
    if (element.nodeType === Node.TEXT_NODE) {
      if (element.data !== wanted.data) element.data = wanted.data;
      return;
    }
    if (element.isEqualNode(wanted)) return;
    if (element.classList.contains("plot") && element.id) {  // what is in it is the chart's
      if (element.getAttribute("aria-label") !== wanted.getAttribute("aria-label")) element.setAttribute("aria-label", wanted.getAttribute("aria-label"));
      return;
    }
    attributes(element, wanted);
    children(element, wanted);
  };
  const children = (element, wanted) => {
    const table = element.dataset.table ? [...element.children].filter((child) => child.nodeName !== "SUMMARY") : [];
    const olds = [...element.childNodes].filter((child) => !table.includes(child)), news = [...wanted.childNodes];
    news.forEach((child, at) => {
      const old = olds[at];
      if (old === undefined) element.append(child);
      else if (same(old, child)) become(old, child);
      else old.replaceWith(child);
    });
    olds.slice(news.length).forEach((old) => old.remove());
  };
  const put = (element, text) => children(element, parsed(text, element));

  // --- the table behind a plot, asked for while it is unfolded
  const fetchTable = async (details) => {
    try {
      const answer = await fetch(`/tables/${details.dataset.table}`);
      if (!answer.ok) return;
      const text = await answer.text();
      const old = details.querySelector(".scroll");
      if (old === null) details.insertAdjacentHTML("beforeend", text);
      else become(old, parsed(text, details).firstElementChild);
    } catch {
      return;  // the connection's own line says what is wrong
    }
  };
  const tables = () => document.querySelectorAll("details[data-table][open]").forEach(fetchTable);
  document.addEventListener("toggle", (event) => {
    if (event.target.open && event.target.dataset.table) fetchTable(event.target);
  }, true);

  // --- plots
  const grow = {
    time(data, { points }) {
      points.forEach((point, number) => {
        const line = data.lines[number].points;
        if (line.length > 0 && line[line.length - 1][0] === point[0]) line[line.length - 1] = point;
        else line.push(point);
      });
    },
    heat(data, { column, begin, time, cells, most }) {
      data.cells = data.cells.filter(([known]) => known !== column).concat(cells);
      data.begins[column] = begin;
      data.times[column] = time;
      data.most = most;
    },
  };

  // --- events
  const says = (status) => {
    $("status").textContent = status.text;
    $("share").hidden = status.share === null;
    if (status.share !== null) $("share").value = status.share;
    document.documentElement.dataset.state = status.state;
  };
  const apply = (event) => {
    says(event.status);
    if (event.title !== undefined) document.title = event.title;
    if (event.nav !== undefined) put(document.querySelector("nav"), event.nav);
    if (event.verdict !== undefined) {
      const verdict = document.querySelector("main .verdict");
      become(verdict, parsed(event.verdict, verdict).firstElementChild);
    }
    if (event.main !== undefined) put($("report"), event.main);
    if (event.whole) Object.keys(plots).forEach((name) => delete plots[name]);
    Object.assign(plots, event.plots);
    Object.entries(event.grown || {}).forEach(([name, newest]) => grow[plots[name].kind](plots[name].data, newest));
    if (event.main !== undefined) watch();
    [...Object.keys(event.plots || {}), ...Object.keys(event.grown || {})].forEach((name) => $(name) && changed($(name)));
    if (event.main !== undefined) tables();
  };

  const state = JSON.parse($("state").textContent);
  says(state);
  if (state.state === "over") return;
  const source = new EventSource(document.body.dataset.events);
  const connection = (text) => { $("connection").textContent = text; };
  source.onopen = () => {
    failures = 0;
    connection("");
  };
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    apply(event);
    if (event.status.state === "over") {
      source.close();
      connection("This page stays as it is; nothing is loaded any more.");
    }
  };
  source.onerror = () => {
    failures += 1;
    if (source.readyState === EventSource.CLOSED || failures >= GIVE_UP_AFTER) {
      source.close();
      connection("The run cannot be reached: it has ended, its machine is out of reach, or too many pages follow it. What stands here is the last that was heard; reload the page to try again.");
    } else {
      connection("The connection is lost; trying again. What stands here is the last that was heard.");
    }
  };
})();
