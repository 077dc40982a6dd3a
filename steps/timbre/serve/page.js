// What the page does: tabs, forms, answers.

const $ = (name) => document.getElementById(name);
const clips = new Map();
let info = { points: [] };

function tell(error) {
  const place = $("problem");
  place.textContent = error instanceof Error ? error.message : String(error);
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
}

async function ask(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("the program that shows this page does not answer; is it still running?");
  }
  const content = await reply.json().catch(() => ({ error: `no answer (${reply.status})` }));
  if (!reply.ok) throw new Error(content.error || `no answer (${reply.status})`);
  return content;
}

const post = (path, content) => ask(path, { method: "POST", headers: { "Content-Type": "application/json" },
  body: JSON.stringify(content) });

// Tabs, as the ARIA practices have them: arrows move, Home and End too.
const tabs = [...document.querySelectorAll("[role=tab]")];

function choose(tab, focus) {
  for (const one of tabs) {
    one.setAttribute("aria-selected", String(one === tab));
    one.tabIndex = one === tab ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = one !== tab;
  }
  $("problem").hidden = true;
  if (focus) tab.focus();
  history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
  if (tab.id === "tab-people") people().catch(tell);
}

tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const to = { ArrowRight: place + 1, ArrowLeft: place - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(tabs[to % tabs.length], true);
  });
});

function onSubmit(name, answer) {
  const form = $(name);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button.main");
    $("problem").hidden = true;
    const data = new FormData(form);
    const label = button.textContent;
    try {
      for (const place of form.querySelectorAll(".clip")) {
        const clip = clips.get(place);
        if (clip.microphone) await clip.toggle();
        if (!clip.files.length) throw new Error(`${place.dataset.label}: record it, or choose a file`);
        for (const file of clip.files) data.append(place.dataset.clip, file, file.name);
      }
      button.disabled = true;
      button.textContent = "…";
      await answer(data, form);
    } catch (error) {
      tell(error);
    } finally {
      button.disabled = false;
      button.textContent = label;
    }
  });
}

function facts(pairs) {
  const list = html("dl", {});
  for (const [name, value] of pairs) if (value != null) list.append(html("dt", {}, name), html("dd", {}, value));
  return list;
}

function warnings(found) {
  const listed = (found.warnings || []).map((text) => html("li", {}, text));
  return listed.length ? [html("ul", { class: "warnings", "aria-label": "Warnings" }, ...listed)] : [];
}

function rate(one) {
  if (!one) return "?";
  const ends = one.low == null ? "" : ` (95 %: ${percent(one.low)} to ${percent(one.high)})`;
  return percent(one.rate) + ends;
}

onSubmit("verify-form", async (data) => {
  const found = await ask("/api/verify", { method: "POST", body: data });
  const place = $("verdict");
  place.replaceChildren();
  if (found.same === null) {
    place.append(html("p", { class: "answer unsure" }, "No decision"), html("p", {}, found.reason || ""), ...warnings(found));
    return;
  }
  const point = info.points.find((one) => one.kind === "prior" && Math.abs(one.value - found.prior) < 1e-6);
  const words = found.same ? "Same speaker" : "Different speakers";
  const left = html("div", {},
    html("p", { class: `answer ${found.same ? "same" : "different"}` }, words),
    html("p", {}, `Probability of one speaker: ${percent(found.probability)}`),
    llrScale(found.llr, found.threshold),
    html("h3", {}, "What it rests on"),
    facts([["Speech", found.seconds.map((one) => `${one.toFixed(1)} s`).join(" and ")],
      ["Prior", percent(found.prior)],
      ["Misses expected", point ? rate(point.miss) : null],
      ["False alarms expected", point ? rate(point.false_alarm) : null]]),
    ...warnings(found));
  place.append(html("div", { class: "side" }, left));
  if (info.points.length)
    place.firstChild.append(html("div", {}, html("h3", {}, "Errors at this and other thresholds"), operatingPoints(info.points, point)));
});

onSubmit("identify-form", async (data) => {
  const found = await ask("/api/identify", { method: "POST", body: data });
  const place = $("identified");
  const kind = found.reason ? "unsure" : found.name ? "same" : "different";
  const words = found.reason ? "No decision" : found.name || "Nobody of the gallery";
  place.replaceChildren(html("p", { class: `answer ${kind}` }, words));
  if (found.reason) place.append(html("p", {}, found.reason));
  const rows = (found.matches || []).map(([name, llr, probability]) => html("tr", {}, html("td", {}, name),
    html("td", {}, llr.toFixed(2)), html("td", {}, percent(probability))));
  if (rows.length)
    place.append(html("table", {}, html("thead", {}, html("tr", {}, ...["Name", "LLR", "Probability"].map((one) =>
      html("th", { scope: "col" }, one)))), html("tbody", {}, ...rows)));
  place.append(...warnings(found));
});

async function people() {
  const { people: listed } = await ask("/api/people");
  const place = $("list");
  place.replaceChildren();
  if (!info.gallery) tell("there is no gallery: start the program with --gallery people.db");
  if (!listed.length) place.append(html("li", { class: "empty" }, "Nobody is enrolled yet."));
  for (const one of listed) {
    const rename = html("button", { type: "button", "aria-label": `Rename ${one.name}` }, "Rename");
    const remove = html("button", { type: "button", "aria-label": `Remove ${one.name}` }, "Remove");
    const count = `${one.recordings} recording${one.recordings === 1 ? "" : "s"}`;
    rename.addEventListener("click", () => change("rename", one.name, prompt(`Another name for ${one.name}`, one.name)));
    remove.addEventListener("click", () => confirm(`Remove ${one.name}?`) && change("remove", one.name));
    place.append(html("li", {}, html("span", { class: "who" }, one.name, html("span", { class: "note" }, ` ${count}`)),
      html("span", { class: "do" }, rename, remove)));
  }
}

async function change(what, name, other) {
  if (what === "rename" && (!other || other === name)) return;
  try {
    await post(`/api/people/${what}`, { name, new: other });
    $("enrolled").textContent = what === "rename" ? `${name} is now ${other}.` : `${name} was removed.`;
    await people();
  } catch (error) {
    tell(error);
  }
}

onSubmit("enroll-form", async (data, form) => {
  const found = await ask("/api/people/enroll", { method: "POST", body: data });
  $("enrolled").textContent = `${found.name} is enrolled with ${found.recordings} more recording${found.recordings === 1 ? "" : "s"}.`;
  form.reset();
  clips.get(form.querySelector(".clip")).clear();
  await people();
});

onSubmit("meeting-form", async (data) => {
  const { turns, seconds } = await ask("/api/diarize", { method: "POST", body: data });
  const place = $("timeline");
  const names = [...new Set(turns.map((turn) => turn.name))];
  place.replaceChildren(html("p", { class: "answer" }, names.length ? `${names.length} speaker${names.length > 1 ? "s" : ""}` : "Nobody speaks"));
  if (!turns.length) return;
  const rows = turns.map((turn) => html("tr", {}, html("td", {}, clock(turn.start)), html("td", {}, clock(turn.end)),
    html("td", {}, turn.name), html("td", {}, turn.llr == null ? "" : turn.llr.toFixed(1))));
  place.append(html("div", { class: "scroll" }, timeline(turns, seconds)),
    html("details", {}, html("summary", {}, `${turns.length} turns`), html("table", {},
      html("thead", {}, html("tr", {}, ...["From", "To", "Who", "LLR"].map((one) => html("th", { scope: "col" }, one)))),
      html("tbody", {}, ...rows))));
});

// Live captions: what is heard is sent every quarter of a second, one request after another.
const live = { microphone: null, id: null, waiting: [], busy: false, color: colorOf() };

function say(turns) {
  const list = $("captions");
  for (const turn of turns) {
    let line = list.querySelector(`[data-number="${turn.number}"]`);
    if (!line) {
      line = html("li", { "data-number": turn.number });
      list.append(line);
      while (list.children.length > 300) list.firstChild.remove();
    }
    line.style.borderLeftColor = live.color(turn.name);
    const times = `${clock(turn.start)} – ${turn.going_on ? "…" : clock(turn.end)}`;
    const more = turn.corrects ? "corrected" : turn.llr == null ? "" : `LLR ${turn.llr.toFixed(1)}`;
    line.replaceChildren(html("time", {}, times), html("span", { class: "name" }, turn.name), html("span", { class: "more" }, more));
    if (turn.going_on) $("now").textContent = turn.name;
    else if ($("now").dataset.number === String(turn.number)) $("now").textContent = "";
    if (turn.going_on) $("now").dataset.number = turn.number;
    list.scrollTop = list.scrollHeight;
  }
}

async function sendHeard(last) {
  if (live.busy && !last) return;
  while (live.busy) await new Promise((done) => setTimeout(done, 20));
  const id = live.id;
  live.busy = true;
  try {
    let samples = to16Bit(live.waiting);
    live.waiting = [];
    for (const most = 5 * live.rate; samples.length > most; samples = samples.subarray(most))
      say((await ask(`/api/listen/${id}`, { method: "POST", body: samples.slice(0, most) })).turns);
    const found = await ask(`/api/listen/${id}`, { method: last ? "DELETE" : "POST", body: samples });
    say(found.turns);
  } finally {
    live.busy = false;
  }
}

async function stopListening() {
  const microphone = live.microphone;
  live.microphone = null;
  $("listen").textContent = "Listen";
  $("listen").setAttribute("aria-pressed", "false");
  $("latency").disabled = false;
  await microphone.stop();
  await sendHeard(true);
  $("now").textContent = "";
}

$("listen").addEventListener("click", async () => {
  $("problem").hidden = true;
  try {
    if (live.microphone) return await stopListening();
    live.waiting = [];
    live.color = colorOf();
    $("captions").replaceChildren();
    const microphone = new Microphone((part) => {
      live.waiting.push(part);
      $("live-level").value = level(part);
      if (live.id && live.microphone && live.waiting.length * part.length >= microphone.rate / 4)
        sendHeard(false).catch(async (error) => { tell(error); if (live.microphone) await stopListening().catch(() => {}); });
    });
    await microphone.start();
    live.microphone = microphone;
    live.rate = microphone.rate;
    live.id = (await post("/api/listen", { rate: microphone.rate, latency: Number($("latency").value) })).id;
    $("listen").textContent = "Stop";
    $("listen").setAttribute("aria-pressed", "true");
    $("latency").disabled = true;
  } catch (error) {
    tell(error);
  }
});

function about() {
  $("pack").textContent = info.name;
  const rows = info.points.map((one) => html("tr", {}, html("td", {}, `${one.kind.replaceAll("_", " ")} ${one.value}`),
    html("td", {}, one.threshold.toFixed(2)), html("td", {}, rate(one.miss)), html("td", {}, rate(one.false_alarm)),
    html("td", {}, one.enough || "")));
  const plain = Object.entries(info.card).filter(([, value]) => typeof value === "string" || typeof value === "number");
  $("card").append(facts([["Model", info.name], ["Sample rate", `${info.rate} Hz`],
    ["Least speech", `${info.min_speech} s`], ...plain.map(([name, value]) => [name, String(value)])]));
  if (rows.length)
    $("card").append(operatingPoints(info.points), html("div", { class: "scroll" }, html("table", {}, html("thead", {}, html("tr", {},
      ...["Threshold of", "LLR", "Misses", "False alarms", "Enough data?"].map((one) => html("th", { scope: "col" }, one)))),
      html("tbody", {}, ...rows))));
}

document.querySelectorAll(".clip").forEach((place) => clips.set(place, new Clip(place)));
ask("/api/info").then((found) => {
  info = found;
  about();
  const tab = tabs.find((one) => `#${one.getAttribute("aria-controls")}` === location.hash);
  if (tab) choose(tab);
}).catch(tell);
